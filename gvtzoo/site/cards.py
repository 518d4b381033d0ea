"""What the page shows of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gvtzoo.hub.client import has_client
from gvtzoo.hub.index import Entry, read_index
from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.baseline_config import AnyNetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.reader import open_package
from gvtzoo.recipes.metadata import MetricRow, Task
from gvtzoo.site.pictures import Pictures, pictures_of

EXAMPLE = "example"  # a folder beside a package: an image that it was not trained on, and its truth


@dataclass(frozen=True)
class Command:
    """A line for a terminal, and what it does."""

    label: str
    text: str


@dataclass(frozen=True)
class ModelCard:
    """One model on the page. All texts are shown as they are: none is trusted.

    Attributes
    ----------
    id : str
        Lower case, as ``gvtzoo predict`` names the model.
    name, structure, description : str
    task : {"label_free", "denoising", "projection"}
    dimensions : str
        ``"2D"``, ``"3D"`` or ``"3D → 2D"``.
    license : str
        SPDX identifier of the licence of the weights.
    size : int, optional
        Of the package, in bytes.
    metrics : tuple of MetricRow
        Empty when nothing was measured.
    commands : tuple of Command
        What a reader runs, in this order.
    obtained : str
        Where the model comes from, in one sentence.
    package : Path, optional
        The zip that the page offers, where there is one to offer.
    pictures : Pictures, optional
    """

    id: str
    name: str
    task: Task
    structure: str
    dimensions: str
    description: str
    license: str
    obtained: str
    size: int | None = None
    metrics: tuple[MetricRow, ...] = ()
    commands: tuple[Command, ...] = ()
    package: Path | None = None
    pictures: Pictures | None = None


def zoo_cards() -> list[ModelCard]:
    """Every model of the zoo: those that come with gvtzoo first, with pictures."""
    bundled = bundled_cards()
    shown = {card.id for card in bundled}
    entries = read_index().values()
    return bundled + [card_of_entry(entry) for entry in entries if entry.id not in shown]


def card_of_entry(entry: Entry) -> ModelCard:
    """The card of a model that is not here, but can be had."""
    (download,) = entry.commands
    return ModelCard(
        id=entry.id,
        name=entry.name,
        task=entry.task,
        structure=entry.structure,
        dimensions=_dimensions(entry.dimensions, entry.output_dimensions),
        description=entry.description,
        license=entry.license,
        obtained="Published by the paper’s authors; the command below makes a package of it.",
        metrics=entry.metrics,
        commands=(
            Command("Download it from the authors’ repository, and make the package", download),
            Command("Predict an image", f"gvtzoo predict {entry.id} image.tif -o prediction.tif"),
        ),
    )


def bundled_cards() -> list[ModelCard]:
    """The models that come with gvtzoo, with pictures, by name."""
    return [card_of_package(name, path) for name, path in bundled_models().items()]


def card_of_package(name: str, path: Path) -> ModelCard:
    """The card of a package that is here.

    Parameters
    ----------
    name : str
        How ``gvtzoo predict`` names it.
    path : Path
        Of the zip.

    Raises
    ------
    GvtzooError
        When the package is damaged, or its sample images are missing or do not fit each other.
    """
    package = open_package(path)
    config = package.config
    return ModelCard(
        id=name,
        name=config.metadata.name,
        task=config.task,
        structure=config.metadata.structure,
        dimensions=spatial_dimensions(config.network),
        description=config.metadata.description,
        license=config.metadata.license,
        obtained="Comes with gvtzoo.",
        size=path.stat().st_size,
        metrics=config.metrics,
        commands=usage(name, config),
        package=path,
        pictures=pictures_of(package, path.parent / EXAMPLE),
    )


def spatial_dimensions(network: AnyNetworkConfig) -> str:
    """``"2D"``, ``"3D"`` or ``"3D → 2D"``."""
    return _dimensions(network.dimensions, network.output_dimensions)


def _dimensions(source: int, prediction: int) -> str:
    return f"{source}D" if source == prediction else f"{source}D → {prediction}D"


def usage(name: str, config: PackageConfig) -> tuple[Command, ...]:
    """How to predict with a model."""
    predict = f"gvtzoo predict {name} image.tif -o prediction.tif"
    commands = [Command("Predict an image", predict)]
    if config.uncertainty:
        commands.append(Command("With the uncertainty of every voxel", f"{predict} --uncertainty"))
    axes = ("C" if config.network.input_channels > 1 else "") + "ZYX"[-config.network.dimensions :]
    python = (
        "import gvtzoo\n\n"
        f'model = gvtzoo.load("{name}")\n'
        f'prediction = model.predict(image, axes="{axes}")'
    )
    if has_client(name):
        client = f"gvtzoo download --client {name}"
        commands.append(Command("The package for ilastik and QuPath, which cut images", client))
    return (*commands, Command("In Python", python))
