"""``gvtzoo predict``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gvtzoo.cli.options import Device, ModelName, Overwrite, progress_bar
from gvtzoo.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo.prediction.predictor import Model


class Tiling(StrEnum):
    """How an image is cut for the network."""

    auto = "auto"
    whole = "whole"
    exact = "exact"
    blocks = "blocks"


class Dtype(StrEnum):
    """Types of the network's arithmetic."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    model: ModelName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images or folders.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file for one image, a folder for several.")
    ],
    device: Device = "auto",
    tiling: Annotated[Tiling, typer.Option(help="How large images are handled.")] = Tiling.auto,
    block: Annotated[
        str | None, typer.Option(help="Size of blocks, such as 32,128,128 (z,y,x).")
    ] = None,
    overlap: Annotated[str | None, typer.Option(help="Overlap of blocks, such as 8,32,32.")] = None,
    axes: Annotated[
        str | None, typer.Option(help="Axes of the images, such as ZYX, where files do not tell.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option(help="Channel to take, by number (from 0) or name.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="What a prediction may take, such as 4GB.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Arithmetic of the network.")] = Dtype.float32,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write σ too, as OUT with _sigma.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict images of any size."""
    from gvtzoo.prediction.memory import parse_memory
    from gvtzoo.prediction.predictor import load

    try:
        settings: dict[str, Any] = {
            "device": device,
            "tiling": tiling.value,
            "dtype": dtype.value,
            "memory": None if memory is None else parse_memory(memory),
            "block": _sizes(block),
            "overlap": _sizes(overlap),
        }
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    jobs = plan(images, output)
    loaded = load(model)
    failures = 0
    for source, target in jobs:
        try:
            predict_file(
                loaded,
                source,
                target,
                axes=axes,
                channel=channel,
                uncertainty=uncertainty,
                overwrite=overwrite,
                settings=settings,
            )
            typer.echo(str(target))
        except (GvtzooError, OSError) as error:
            failures += 1
            typer.echo(f"gvtzoo: {source}: {error}", err=True)
    if failures:
        if len(jobs) > 1:
            typer.echo(f"gvtzoo: {failures} of {len(jobs)} images failed", err=True)
        raise typer.Exit(1)


def plan(images: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Which file is predicted into which.

    Raises
    ------
    GvtzooError
        When several images would go into one file.
    """
    from gvtzoo.images.files import TIFF_SUFFIXES, WRITTEN_SUFFIXES, find_images

    sources: list[Path] = []
    for path in images:
        sources += find_images(path) if path.is_dir() else [path]
    names_file = output.suffix.lower() in WRITTEN_SUFFIXES and not output.is_dir()
    if names_file and len(images) == 1 and not images[0].is_dir():
        return [(sources[0], output)]
    if names_file:
        raise GvtzooError(
            f"{output} is one file, but there are {len(sources)} images: name a folder"
        )
    if output.suffix and not output.is_dir() and len(images) == 1 and images[0].is_file():
        raise GvtzooError(
            f"{output}: {output.suffix} is not a format that can be written: "
            f"{', '.join(WRITTEN_SUFFIXES)} are"
        )
    targets = [
        output / (path.name if path.suffix.lower() in TIFF_SUFFIXES else f"{path.stem}.tif")
        for path in sources
    ]
    twice = [target for target in targets if targets.count(target) > 1]
    if twice:
        raise GvtzooError(f"two of the images would be written to {twice[0]}: use two folders")
    return list(zip(sources, targets, strict=True))


def predict_file(
    model: Model,
    source: Path,
    target: Path,
    *,
    axes: str | None,
    channel: str | None,
    uncertainty: bool,
    overwrite: bool,
    settings: dict[str, Any],
) -> None:
    """Predict one file into another, and σ beside it."""
    from gvtzoo.images.files import check_writable, read_image, write_image

    sigma_target = target.with_name(f"{target.stem}_sigma{target.suffix}")
    targets = [target, sigma_target] if uncertainty else [target]
    for path in targets:
        if path.resolve() == source.resolve():
            raise GvtzooError("the output would replace the input: choose another name")
        check_writable(path, overwrite)
    several = model.config.network.input_channels > 1
    image = read_image(source, axes=axes, channel=channel, keep_channels=several)
    with progress_bar(source.name) as report:
        shown = None if report is None else lambda done, total: report(done, total, "")
        results = model.predict(image, uncertainty=uncertainty, progress=shown, **settings)
    for path, result in zip(targets, results if uncertainty else [results], strict=True):
        write_image(path, result, overwrite=overwrite)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.replace("x", ",").split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of sizes: write it like 32,128,128") from None
