"""The command ``gvtzoo recommend``: the models at hand, ranked for an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gvtzoo.cli.options import AsJson, Axes, Channel, Device, Overwrite, next_step, progress_bar
from gvtzoo.core.errors import GvtzooError, one_line

if TYPE_CHECKING:
    from gvtzoo.evaluation.recommend import Recommendation, Recommended

MOST_DRAWN = 6
NEGLIGIBLE = 0.005  # of r


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recommend")(recommend)


def recommend(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="One image, or the address of an OME-Zarr.")
    ],
    picture: Annotated[
        Path | None,
        typer.Option(metavar="P.png", help="Draw a crop, and what each model makes of it."),
    ] = None,
    axes: Axes = None,
    channel: Channel = None,
    device: Device = "auto",
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Rank the models that are here for an image: by fit, and by scores without truth.

    The fit is that of the image to a model's training images. The score, of denoisers, is r of the
    prediction of one recording of a crop with another with independent noise; compare it with that
    of the best Gaussian filter.
    """
    from gvtzoo.cli.preview import check_picture
    from gvtzoo.cli.table import table_lines
    from gvtzoo.evaluation.recommend import recommend

    if picture is not None:
        check_picture(picture, overwrite)
    with progress_bar("comparing") as report:
        shown = None if report is None else lambda done, total: report(done, total, "")
        found = recommend(image, axes=axes, channel=channel, device=device, progress=shown)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        rows = [
            (row.name, row.task, row.verdict, _number(row.score), one_line(row.why))
            for row in found.models
        ]
        if found.gaussian is not None:
            rows.append(("(best Gaussian filter)", "denoising", "", _number(found.gaussian), ""))
        for line in table_lines(("MODEL", "TASK", "FIT", "SCORE", "WHY NOT"), rows):
            typer.echo(line)
        if found.gaussian is not None:
            typer.echo("SCORE: r with a second recording of the same, 1 at most", err=True)
    if picture is not None:
        _draw(found, image, picture, axes, channel, device)
        typer.echo(f"gvtzoo: the picture is {picture}", err=True)
    next_step(_what_next(found, image))


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _draw(
    found: Recommendation,
    image: str,
    picture: Path,
    axes: str | None,
    channel: str | None,
    device: str,
) -> None:
    """The preview of the models that can take the image, the best first."""
    from gvtzoo.cli.preview import write_preview

    names = [row.name for row in found.models if row.usable][:MOST_DRAWN]
    if not names:
        raise GvtzooError("no model here takes this image, so there is nothing to draw")
    write_preview(names, image, picture, axes=axes, channel=channel, device=device, tell_fit=False)


def _what_next(found: Recommendation, image: str) -> str:
    best: Recommended | None = next((row for row in found.models if row.usable), None)
    if best is None or best.verdict == "unlike":
        return (
            "no model here was trained on images like this one: fine-tune one on yours, "
            f"`gvtzoo finetune {best.name if best else 'MODEL'} --noisy {image} -o run/`"
        )
    command = f"gvtzoo predict {best.name} {image} -o OUT.tif"
    if best.score is None or found.gaussian is None or best.score > found.gaussian + NEGLIGIBLE:
        return command
    return f"{command}; on this crop a Gaussian filter is as good"
