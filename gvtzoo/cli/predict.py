"""The command ``gvtzoo predict``: images, or folders of them, through a model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gvtzoo.cli.interrupt import interruptible
from gvtzoo.cli.options import (
    Axes,
    Channel,
    Device,
    ModelName,
    Overwrite,
    Trust,
    next_step,
    progress_bar,
    shown,
)
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import numbered

if TYPE_CHECKING:
    from dask.distributed import Client

    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.images.zarr_stores import Place
    from gvtzoo.prediction.fit import Fit
    from gvtzoo.prediction.model import Model
    from gvtzoo.prediction.settings import Settings


class Tiling(StrEnum):
    """How an image is cut for the network."""

    auto = "auto"
    whole = "whole"
    exact = "exact"
    blocks = "blocks"


class Attention(StrEnum):
    """Where a region's attention comes from."""

    image = "image"
    region = "region"


class ZarrVersion(StrEnum):
    """Versions of OME-Zarr."""

    v04 = "0.4"
    v05 = "0.5"


class Dtype(StrEnum):
    """Types of the network's arithmetic."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Engine(StrEnum):
    """What computes the network."""

    auto = "auto"
    torch = "torch"
    openvino = "openvino"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    model: ModelName,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Images, folders, or addresses of OME-Zarr (https://…, s3://…).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file for one image, a folder for several.")
    ],
    device: Device = "auto",
    tiling: Annotated[Tiling, typer.Option(help="How large images are handled.")] = Tiling.auto,
    block: Annotated[
        str | None, typer.Option(help="Size of blocks, such as 32,128,128 (z,y,x).")
    ] = None,
    overlap: Annotated[str | None, typer.Option(help="Overlap of blocks, such as 8,32,32.")] = None,
    axes: Axes = None,
    channel: Channel = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="N", help="Which image of a file, by number (from 0) or name."),
    ] = None,
    level: Annotated[
        int | None, typer.Option(min=0, help="Which resolution of a pyramid; 0 is the finest.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="What a prediction may take, such as 4GB.")
    ] = None,
    dtype: Annotated[Dtype, typer.Option(help="Arithmetic of the network.")] = Dtype.float32,
    engine: Annotated[
        Engine, typer.Option(help="What computes; auto: OpenVINO on CPUs, else PyTorch.")
    ] = Engine.auto,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write σ too, as OUT with _sigma.")
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1", help="Predict this part only, in voxels; ':' for all."
        ),
    ] = None,
    attention: Annotated[
        Attention,
        typer.Option(
            help="With --region: of the whole image, which is read in full and gives exactly its "
            "part, or of the region with a margin, which gives about the same."
        ),
    ] = Attention.image,
    pyramid: Annotated[
        bool, typer.Option("--pyramid", help="Write OME-Zarr at coarser resolutions too.")
    ] = False,
    zarr_version: Annotated[
        ZarrVersion | None,
        typer.Option(help="Of OME-Zarr that is written.", show_default="the input's, else 0.5"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Predict in so many processes of this machine.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Predict on a Dask cluster, such as tcp://host:8786."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(
            metavar="UM", help="Pixel size of the images in plane, in µm, where files do not tell."
        ),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample/--no-resample",
            help="Resample to the pixel size of models whose training images were, and back.",
        ),
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say tiles, passes, time, memory and disk; write nothing."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse images that are unlike the training images.")
    ] = False,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict images of any size: TIFF, OME-Zarr, npy, npz, PNG and JPEG.

    An image that does not fit the memory is predicted tile by tile, with the same result; when that
    is interrupted, the same command continues it.
    """
    from gvtzoo.api.predict import predict as predict_image
    from gvtzoo.hub.load import load
    from gvtzoo.images.ome_zarr_writer import ZarrOptions
    from gvtzoo.prediction.settings import Settings

    try:
        settings = Settings(
            device=device,
            tiling=tiling.value,
            dtype=dtype.value,
            engine=engine.value,
            memory=memory,  # type: ignore[arg-type] # read as in Python
            block=block,  # type: ignore[arg-type]
            overlap=overlap,  # type: ignore[arg-type]
            pixel_size=pixel_size,
            resample=resample,
        )
    except GvtzooError as error:
        raise typer.BadParameter(str(error)) from error
    zarr = ZarrOptions(None if zarr_version is None else zarr_version.value, pyramid)
    jobs = plan(images, output)
    loaded = load(model, trust=trust)
    _check_foreign(
        loaded, settings, uncertainty, several=scheduler is not None or workers is not None
    )
    done = failures = 0
    with (
        interruptible(lambda: _kept(jobs, done)),
        _cluster(scheduler, workers, settings) as client,
    ):
        for source, target in jobs:
            try:
                if dry_run:
                    reading = {"axes": axes, "channel": channel, "series": series, "level": level}
                    for text in _taken(loaded, source, settings, reading):
                        typer.echo(f"{source}: {text}")
                    continue
                with (
                    numbered(done + failures + 1, len(jobs)),
                    progress_bar(target.name) as report,
                ):
                    written = predict_image(
                        loaded,
                        source,
                        target,
                        axes=axes,
                        channel=channel,
                        region=region,
                        attention=attention.value,
                        series=series,
                        level=level,
                        uncertainty=uncertainty,
                        zarr=zarr,
                        overwrite=overwrite,
                        client=client,
                        strict=strict,
                        on_fit=lambda fit, name=Path(source).name: _tell_fit(fit, name),
                        progress=shown(report),
                        **vars(settings),
                    )
                done += 1
                for path in written:
                    typer.echo(str(path))
            except (GvtzooError, OSError) as error:
                failures += 1
                typer.echo(f"gvtzoo: {_named(source, error)}", err=True)
    if failures:
        if len(jobs) > 1:
            typer.echo(f"gvtzoo: {failures} of {len(jobs)} images failed", err=True)
        raise typer.Exit(1)
    if not dry_run:
        next_step(f"look at {jobs[0][1]} in Fiji or napari; gvtzoo evaluate says whether it helped")


def _tell_fit(fit: Fit, name: str) -> None:
    typer.echo(f"{name} {fit.sentence}", err=True)


def _kept(jobs: list[tuple[Place, Path]], written: int) -> str:
    """What an interrupted prediction leaves, and how it goes on."""
    from gvtzoo.prediction.exact.out_of_core import PARTIAL

    begun = [
        partial
        for _, target in jobs
        if (partial := target.with_name(f".{target.name}{PARTIAL}")).exists()
    ]
    if begun:
        return f"{begun[0]} holds what is done: the same command goes on with it"
    if len(jobs) == 1:
        return "nothing was written: the same command starts again"
    return (
        f"{written} of {len(jobs)} predictions are written and stay: the same command makes the "
        "others"
    )


def _taken(
    model: Model | BioimageioModel, source: Place, settings: Settings, reading: dict[str, Any]
) -> list[str]:
    """What the prediction of an image would take, one fact a line."""
    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.images.files import open_image
    from gvtzoo.prediction.estimate import estimate

    if isinstance(model, BioimageioModel):
        raise GvtzooError("--dry-run is for gvtzoo's own models")
    keep = "c" in model.axes and reading["channel"] is None
    return estimate(model, open_image(source, keep_channels=keep, **reading), settings).lines()


def _named(source: Place, error: Exception) -> str:
    """What went wrong with an image, whose name is said once."""
    text = str(error)
    return text if Path(source).name in text else f"{source}: {text}"


def _check_foreign(
    model: Model | BioimageioModel, settings: Settings, uncertainty: bool, several: bool
) -> None:
    """Refuse for models of others what only gvtzoo's own do, before any image is read."""
    from gvtzoo.bioimageio.model import BioimageioModel

    if not isinstance(model, BioimageioModel):
        return
    model.check_settings(settings, uncertainty)
    if several:
        raise GvtzooError(
            f"{model.name} was not made by gvtzoo, and is predicted in one process: leave out "
            "--workers and --scheduler"
        )


def _cluster(
    scheduler: str | None, workers: int | None, settings: Settings
) -> AbstractContextManager[Client | None]:
    if scheduler is None and workers is None:
        return nullcontext()
    if settings.tiling not in ("auto", "exact"):
        raise typer.BadParameter("several workers predict exactly: use --tiling exact")
    from gvtzoo.prediction.exact.dask import cluster

    return cluster(scheduler, workers, settings.memory)


def plan(images: list[str], output: Path) -> list[tuple[Place, Path]]:
    """Which image is predicted into which file.

    Raises
    ------
    GvtzooError
        When several images would go into one file.
    """
    from gvtzoo.images.files import (
        TIFF_SUFFIXES,
        WRITTEN_SUFFIXES,
        ZARR_SUFFIX,
        find_images,
    )
    from gvtzoo.images.ome_zarr import images_in
    from gvtzoo.images.zarr_stores import is_url, is_zarr, name_of

    sources: list[Place] = []
    for image in images:
        if is_url(image):
            sources += images_in(image)
        else:
            sources += find_images(image) if Path(image).exists() else [Path(image)]
    a_zarr = output.suffix.lower() == ZARR_SUFFIX
    names_file = output.suffix.lower() in WRITTEN_SUFFIXES and (a_zarr or not output.is_dir())
    single = len(sources) == 1 and (is_zarr(images[0]) or not Path(images[0]).is_dir())
    if names_file and single:
        return [(sources[0], output)]
    if names_file:
        raise GvtzooError(
            f"{output} is one file, but there are {len(sources)} images: name a folder"
        )
    if output.suffix and not output.is_dir() and len(images) == 1 and Path(images[0]).is_file():
        raise GvtzooError(
            f"{output}: {output.suffix} is not a format that can be written: "
            f"{', '.join(WRITTEN_SUFFIXES)} are"
        )

    def name(source: Place) -> str:
        if is_zarr(source):
            return f"{name_of(source)}{ZARR_SUFFIX}"
        path = Path(source)
        return path.name if path.suffix.lower() in TIFF_SUFFIXES else f"{path.stem}.tif"

    targets = [output / name(source) for source in sources]
    twice = [target for target in targets if targets.count(target) > 1]
    if twice:
        raise GvtzooError(f"two of the images would be written to {twice[0]}: use two folders")
    return list(zip(sources, targets, strict=True))
