"""The command ``gvtzoo preview``: a crop before and after, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gvtzoo.cli.completion import complete_model
from gvtzoo.cli.options import Axes, Channel, Device, Overwrite, Trust, next_step, progress_bar
from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.prediction.model import Model
    from gvtzoo.report.preview import Previewed

    AnyModel = Model | BioimageioModel


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("preview")(preview)


def preview(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            autocompletion=complete_model,
            help="Models, as for `gvtzoo predict`.",
        ),
    ],
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="One image, or the address of an OME-Zarr.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture.")] = Path(
        "preview.png"
    ),
    axes: Axes = None,
    channel: Channel = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="The crop, in voxels, instead of the middle; ':' for all.",
        ),
    ] = None,
    device: Device = "auto",
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw a crop before and after, with σ; several models side by side.

    Only the crop is read and predicted: without --region in the middle, 16 planes of 256×256
    voxels at most. A prediction of the whole image takes the whole into account, and differs a
    little.
    """
    check_picture(output, overwrite)
    write_preview(
        models, image, output, axes=axes, channel=channel, region=region, device=device, trust=trust
    )
    typer.echo(str(output))
    next_step(f"open {output}; gvtzoo predict {models[0]} {image} -o OUT.tif predicts all of it")


def write_preview(
    models: list[str],
    image: str,
    output: Path,
    *,
    axes: str | None = None,
    channel: str | None = None,
    region: str | None = None,
    device: str = "auto",
    trust: bool = False,
    tell_fit: bool = True,
) -> None:
    """Predict a crop with every model, and draw all; say whether the crop fits them.

    Parameters
    ----------
    models : list of str
        As `gvtzoo.load` takes them.
    image : str
        A path or an address.
    output : Path
        The PNG; its folder is made where there is none, and a file of that name is replaced.
    axes, channel : str, optional
        As of `gvtzoo.images.files.open_image`.
    region : str, optional
        ``z0:z1,y0:y1,x0:x1`` in voxels; by default a part in the middle.
    device : str
        As in `Settings`.
    trust : bool
        Whether code may run that a package of others brings along.
    tell_fit : bool
        Whether it is said when the crop is unlike a model's training images.

    Raises
    ------
    GvtzooError
        When a model or the image cannot be read, or they do not suit each other.
    """
    from gvtzoo.core.files import write_atomically
    from gvtzoo.hub.load import load
    from gvtzoo.images.files import open_image
    from gvtzoo.prediction.part import chosen_part, middle_part
    from gvtzoo.report.preview import draw_preview

    loaded = [load(name, trust=trust) for name in models]
    keep = [("c" in model.axes) for model in loaded]
    found, shown = [], None
    with progress_bar("preview") as report:
        for number, (name, model, channels) in enumerate(zip(models, loaded, keep, strict=True)):
            opened = open_image(image, axes=axes, channel=channel, keep_channels=channels)
            place = middle_part(opened, model)
            if region is not None:
                place = chosen_part(opened, model, region)
            part = opened.crop(place).load()
            found.append(_previewed(name, model, part, device, tell_fit))
            shown = part if shown is None else shown
            if report is not None:
                report(number + 1, len(models), "")
    assert shown is not None  # there is one model at least
    plane, title = _plane_of_input(shown, loaded[0])
    figure = draw_preview(
        plane,
        found,
        title=title,
        pixel_size=shown.attrs["pixel_size"].get("x"),
        unit=shown.attrs["unit"],
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(output) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def check_picture(output: Path, overwrite: bool) -> None:
    """Refuse a picture that exists, or is none, before anything is predicted.

    Raises
    ------
    GvtzooError
    """
    if output.suffix.lower() != ".png":
        raise GvtzooError(f"{output}: the preview is a picture, name a file that ends in .png")
    if output.exists() and not overwrite:
        raise GvtzooError(f"{output} exists: choose another name with -o, or pass --overwrite")


def _previewed(
    name: str, model: AnyModel, part: xr.DataArray, device: str, tell_fit: bool
) -> Previewed:
    """A model's prediction of the part, and σ where it gives one."""
    from gvtzoo.prediction.model import Model
    from gvtzoo.report.preview import Previewed

    own = model if isinstance(model, Model) else None
    wants_sigma = own is not None and own.config.uncertainty
    silent: dict[str, Any] = {} if own is None or tell_fit else {"on_fit": lambda fit: None}
    results: Any = model.predict(part, device=device, uncertainty=wants_sigma, **silent)
    planes = [_middle(result) for result in (results if wants_sigma else [results])]
    same = own is not None and own.config.normalization.undo and own.config.task != "label_free"
    return Previewed(Path(name).name, planes[0], planes[1] if wants_sigma else None, same)


def _middle(image: xr.DataArray) -> np.ndarray:
    """The middle along every axis but y and x."""
    middle = {axis: size // 2 for axis, size in image.sizes.items() if axis not in ("y", "x")}
    return image.isel(middle).transpose("y", "x").to_numpy()


def _plane_of_input(part: xr.DataArray, model: AnyModel) -> tuple[np.ndarray, str]:
    """The plane that a prediction is compared with: the brightest along z for a projection."""
    if "z" in model.axes and "z" not in model.output_axes and "z" in part.dims:
        return _middle(part.max("z")), "input, brightest along z"
    return _middle(part), "input"
