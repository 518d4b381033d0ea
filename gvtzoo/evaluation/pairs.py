"""Image files and their truths that models are measured on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.pair_lists import (
    distinct_names,
    is_table,
    partners,
    read_table,
    without_repeats,
)

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import Recipe

TRUTH_FOLDERS = ("target", "GT")  # CARE's data sets call it GT
SOURCE_FOLDER = "source"
SPLITS = ("test", "val")  # the first that there is
NOISE_SEED = 1
Region = Mapping[Literal["z", "y", "x"], tuple[int, int]]
SIGMA = "_sigma"  # ends the names of files with the σ of a prediction


@dataclass(frozen=True)
class EvaluationPair:
    """A source image and its truth.

    Attributes
    ----------
    name : str
        Together with `structure` and `condition` it is unique.
    source, target : Path
    condition : str
        Such as the noise level, of several sources of the same truth; may be empty.
    structure : str
        What is to be seen, or the data set; may be empty.
    channel, target_channel : str, optional
        To be read, of files that have several.
    origins : tuple of Path
        Files that the two images come from: themselves, or those that they were cut or made from.
    region : mapping
        The part of the origins that they show, as half-open ranges of voxels along axes; empty for
        all.
    """

    name: str
    source: Path
    target: Path
    condition: str = ""
    structure: str = ""
    channel: str | None = None
    target_channel: str | None = None
    origins: tuple[Path, ...] = ()
    region: Region = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not self.origins:
            object.__setattr__(self, "origins", tuple(dict.fromkeys((self.source, self.target))))

    @property
    def place(self) -> Path:
        """Where files about this pair go, relative to some folder; without suffix."""
        return Path(*(_file_name(part) for part in (self.structure, self.condition) if part)) / (
            _file_name(self.name)
        )


def find_pairs(
    data: str | Path, *, conditions: Sequence[str] = (), structure: str = ""
) -> list[EvaluationPair]:
    """The pairs of a data folder or CSV file.

    Parameters
    ----------
    data : path
        A folder with ``source/`` and ``target/`` (or CARE's ``GT/``) that hold images of the same
        names, possibly below ``test/``, ``val/`` or ``test_data/``; or a CSV file with columns
        ``source``, ``target`` and, where there are any, ``split``, ``condition``, ``structure``,
        ``channel``, ``target_channel``, with paths relative to it. Images for training are not
        taken where there are others.
    conditions : sequence of str
        Folders beside the truths' that take the place of ``source/``, or conditions of the CSV to
        be taken; CARE's ``condition_1``, … are found by themselves.
    structure : str
        For all pairs that name none.

    Raises
    ------
    GvtzooError
        When there are no pairs, or files are missing or have no partner.
    """
    data = Path(data)
    if is_table(data):
        pairs = list(_of_table(data, conditions, structure))
    else:
        pairs = list(_of_folder(_test_folder(data), conditions, structure))
    if not pairs:
        raise GvtzooError(f"{data} holds no pairs to evaluate on")
    pairs = _named(pairs)
    check_places(pairs, data)
    return pairs


def _named(pairs: Sequence[EvaluationPair]) -> list[EvaluationPair]:
    """The pairs with names of their own, where files of several folders are called the same."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for pair in pairs:
        groups.setdefault((pair.structure, pair.condition), []).append(pair.source)
    names = {
        (*group, source): name
        for group, sources in groups.items()
        for source, name in zip(sources, distinct_names(sources), strict=True)
    }
    return [
        replace(pair, name=names[pair.structure, pair.condition, pair.source]) for pair in pairs
    ]


def write_recipe_pairs(
    recipe: Recipe, data: str | Path, folder: Path, *, structure: str = ""
) -> list[EvaluationPair]:
    """The test images of a recipe as its training reads them, as files.

    Regions are cut, images resampled, and camera noise is made, always the same. A name such as
    "surface, 20 photons" becomes the image ``surface`` in the condition ``20 photons``.

    Parameters
    ----------
    recipe : Recipe
    data : path
        As `gvtzoo.training.data.patches.load_images` takes it.
    folder : Path
        For the files; those of the same content stay as they are.
    structure : str
        Of all pairs.

    Raises
    ------
    GvtzooError
        When the data have no test images, or two of the same name.
    """
    from gvtzoo.training.data.patches import load_images

    images = load_images(data, "test", recipe)
    if not images:
        raise GvtzooError(f"{data} has no test images for the recipe {recipe.name}")
    region = (recipe.data.regions or {}).get("test", {})
    pairs = [
        replace(_pair_in(folder, image.name, structure), origins=image.files, region=region)
        for image in images
    ]
    check_places(pairs, data)
    for number, (image, pair) in enumerate(zip(images, pairs, strict=True)):
        arrays = image.raw(np.random.default_rng([NOISE_SEED, number]))
        for path, array in zip((pair.source, pair.target), arrays, strict=True):
            _write_once(path, array, image.calibration)
    return pairs


def _pair_in(folder: Path, image: str, structure: str) -> EvaluationPair:
    name, _, condition = image.partition(", ")
    place = EvaluationPair(name, folder, folder, condition, structure).place
    source, target = (folder / kind / f"{place}.tif" for kind in ("source", "target"))
    return EvaluationPair(name, source, target, condition, structure)


def check_places(pairs: Sequence[EvaluationPair], data: str | Path) -> None:
    """That no pair's files take another's place, also where file systems ignore case.

    Raises
    ------
    GvtzooError
        When they would, with the two images.
    """
    seen: set[str] = set()
    for pair in pairs:
        place = str(pair.place).casefold()
        if place in seen:
            raise GvtzooError(
                f"{data} has two images {pair.place}: give them different names or conditions"
            )
        seen.add(place)
    for pair in pairs:
        base = str(pair.place).casefold().removesuffix(SIGMA)
        if base != str(pair.place).casefold() and base in seen:
            raise GvtzooError(
                f"{data} has an image {pair.place}, named as the σ of another is: rename it"
            )


def _write_once(path: Path, array: np.ndarray, calibration: Mapping[str, object]) -> None:
    """An image (channel, (z,) y, x) as TIFF; several channels of planes become a stack."""
    import xarray as xr

    from gvtzoo.images.files import read_image, write_image

    values = array[0] if len(array) == 1 else array
    axes = "czyx"[-values.ndim :] if values.ndim > 3 else "zyx"[-values.ndim :]
    if path.is_file() and np.array_equal(read_image(path, keep_channels=True).to_numpy(), values):
        return
    known = {key: value for key, value in calibration.items() if value}
    sizes = known.get("pixel_size")
    if isinstance(sizes, dict):
        known["pixel_size"] = {axis: size for axis, size in sizes.items() if axis in axes}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, xr.DataArray(values, dims=tuple(axes), attrs=known), overwrite=True)


def _test_folder(data: Path) -> Path:
    if not data.is_dir():
        raise GvtzooError(f"there is no data folder {data}: it needs source/ and target/, or a CSV")
    for name in (*SPLITS, "test_data"):
        if (data / name).is_dir() and _truths(data / name):
            return data / name
    return data


def _truths(folder: Path) -> Path | None:
    return next((folder / name for name in TRUTH_FOLDERS if (folder / name).is_dir()), None)


def _of_folder(root: Path, conditions: Sequence[str], structure: str) -> Iterator[EvaluationPair]:
    truths = _truths(root)
    if truths is None:
        raise GvtzooError(f"{root} has no folder target/ (or GT/): put the true images there")
    if conditions:
        for name in conditions:
            yield from _of_condition(root / name, truths, name, structure)
    elif (root / SOURCE_FOLDER).is_dir():
        yield from _of_condition(root / SOURCE_FOLDER, truths, "", structure)
    else:
        for folder in sorted(root.iterdir()):
            if folder.is_dir() and folder != truths:
                yield from _of_condition(folder, truths, folder.name, structure)


def _of_condition(
    sources: Path, truths: Path, condition: str, structure: str
) -> Iterator[EvaluationPair]:
    if not sources.is_dir():
        raise GvtzooError(f"there is no folder {sources} with source images")
    for source, target in partners(sources, truths, both=False):
        yield EvaluationPair(source.stem, source, target, condition, structure)


def _of_table(path: Path, conditions: Sequence[str], structure: str) -> Iterator[EvaluationPair]:
    table = read_table(path)
    table.require("source", "target")
    splits = {row["split"].lower() for row in table.rows}
    split = next((name for name in SPLITS if name in splits), None)
    rows = [row for row in table.rows if split is None or row["split"].lower() == split]
    unknown = set(conditions) - {row["condition"] for row in rows}
    if unknown:
        raise GvtzooError(f"{path} has no images in the condition {min(unknown)!r}")
    pairs = []
    for row in rows:
        if conditions and row["condition"] not in conditions:
            continue
        source, target = (table.file(row, kind, path.parent) for kind in ("source", "target"))
        pairs.append(
            EvaluationPair(
                source.stem,
                source,
                target,
                row["condition"],
                row["structure"] or structure,
                row["channel"] or None,
                row["target_channel"] or None,
            )
        )
    yield from without_repeats(pairs, lambda pair: (pair.source, pair.target))


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    kept = re.sub(r"[^\w.+-]+", "_", name).strip("._")
    return kept or "image"
