"""The models that there are to choose from, with picture and purpose, and whether one fits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.index import Entry
from gvtzoo.hub.listing import ListedModel, PackagedModel, list_models
from gvtzoo.images.calibration import MICROMETER
from gvtzoo.images.lazy import LazyImage
from gvtzoo.packages.reader import Package, read_description

if TYPE_CHECKING:
    from gvtzoo.bioimageio.model import BioimageioModel
    from gvtzoo.prediction.model import Model

LARGEST_COVER = 5 * 2**20  # bytes
LIKE = 1.5  # voxels of so many times the training's size are still alike
TASKS = {
    "denoising": "Less noise",
    "label_free": "Fluorescence from transmitted light",
    "projection": "A surface out of a stack",
}


@dataclass(frozen=True)
class Choice:
    """A model as a list shows it.

    Attributes
    ----------
    name : str
        By which it is loaded.
    title : str
    purpose : str
        What it is for, in a sentence or two.
    limits : str
        What it is not for.
    picture : bytes
        A PNG or JPEG, or nothing.
    ready : bool
        Whether it is on this computer.
    size : int, optional
        Bytes, of those that are to be downloaded.
    """

    name: str
    title: str
    purpose: str
    limits: str = ""
    picture: bytes = b""
    ready: bool = True
    size: int | None = None


def choices() -> list[Choice]:
    """Every model of the list that can be read, those that are here first."""
    return [choice_of(model) for model in list_models() if model.where != "unreadable"]


def choice_of(model: ListedModel) -> Choice:
    """A model of the list as a choice."""
    title, description, use, limits = model.name, "", "", ""
    if isinstance(model.source, Entry | PackagedModel):
        metadata = model.source.metadata
        title, description = metadata.name, metadata.description
        use, limits = metadata.intended_use, metadata.limitations
    task = TASKS.get(model.task, "")
    return Choice(
        name=str(model.path) if model.where == "downloaded" else model.name,
        title=title,
        purpose=". ".join(part.rstrip(".") for part in (task, description, use) if part),
        limits=limits,
        picture=b"" if model.path is None else cover_of(model.path),
        ready=model.path is not None,
        size=None if model.path is not None else model.size,
    )


def package_choice(path: Path) -> Choice:
    """A package that the user names, such as one that was fine-tuned."""
    rdf = read_description(path)
    return Choice(
        name=str(path),
        title=str(rdf.get("name") or path.stem),
        purpose=str(rdf.get("description") or ""),
        picture=cover_of(path),
    )


def cover_of(path: Path) -> bytes:
    """A package's first picture; nothing where there is none that can be read."""
    try:
        rdf = read_description(path)
        covers = rdf.get("covers")
        if not isinstance(covers, list) or not covers:
            return b""
        return Package(path, rdf).read(covers[0], LARGEST_COVER)
    except (GvtzooError, OSError):
        return b""


def misfits(model: Model | BioimageioModel, image: LazyImage) -> list[str]:
    """What speaks against a model for an image; nothing where it fits.

    Raises
    ------
    GvtzooError
        When the model cannot take the image at all.
    """
    from gvtzoo.prediction.model import Model

    if not isinstance(model, Model):
        return []
    suited = model.suit(image)
    model.frames(suited.array, suited.dims)
    found = []
    if "z" in model.axes and "z" not in image.dims:
        found.append("it was made for stacks, and this is a single plane")
    config = model.config
    if config.unit != MICROMETER or image.unit != MICROMETER:
        return found
    for axis, trained in config.pixel_size.items():
        size = image.pixel_size.get(axis)
        if size is not None and not 1 / LIKE < size / trained < LIKE:
            found.append(f"{axis} is {size:.3g} µm, and was {trained:.3g} µm in its training")
    return found
