"""Data sets in the layout of CARE (Weigert et al., Nature Methods 2018).

    train_data/data_label.npz            X, Y: patches, normalized already; axes: such as SCZYX
    test_data/GT/*.tif                   targets, and sources of the same names beside them:
    test_data/condition_1/*.tif, …
    test_data/*.tif                      or stacks whose last frame is the target, and those
                                         before it are sources: condition 3, 2 and 1

An npz file alone is a data set too; all of its patches are for training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import find_images, read_image
from gvtzoo.images.npy import map_npz_member
from gvtzoo.images.pair_lists import partners
from gvtzoo.training.data.images import RAW, PairedImage, TrainingImage
from gvtzoo.training.data.pairs import Pair, Split
from gvtzoo.training.data.reading import pair_images, read_pair

if TYPE_CHECKING:
    from gvtzoo.networks.baseline_config import AnyNetworkConfig
    from gvtzoo.recipes.recipe import Recipe

PATCHES = Path("train_data") / "data_label.npz"
TESTS = Path("test_data")
TRUTH = "GT"
DEFAULT_AXES = {5: "SCZYX", 4: "SCYX"}


def is_care(path: Path) -> bool:
    """Whether a data folder or file is in CARE's layout."""
    return path.suffix == ".npz" or (path / PATCHES).is_file() or (path / TESTS).is_dir()


def care_images(path: Path, split: Split, recipe: Recipe) -> Iterator[TrainingImage]:
    """The patches (``train``) or test images (``test``) of a data set; it has no ``val``.

    Parameters
    ----------
    path : Path
        Of the data set.
    split : {"train", "val", "test"}
    recipe : Recipe

    Raises
    ------
    GvtzooError
        When files are damaged, or do not suit the recipe's network.
    """
    if split == "train":
        patches = path if path.suffix == ".npz" else path / PATCHES
        if patches.is_file():
            yield from care_patches(patches, recipe.network)
    elif split == "test" and (path / TESTS).is_dir():
        yield from _test_images(path / TESTS, recipe)


def care_patches(path: Path, network: AnyNetworkConfig) -> list[PairedImage]:
    """The patches of an npz file, which stay on disk where it is not compressed.

    Raises
    ------
    GvtzooError
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if not {"X", "Y"} <= names:
                raise GvtzooError(f"it holds {', '.join(sorted(names))}, and X and Y are needed")
        source, target = (map_npz_member(path, name) for name in ("X", "Y"))
        axes = str(map_npz_member(path, "axes")) if "axes" in names else None
    except GvtzooError as error:
        raise GvtzooError(f"{path} cannot be read: {error}") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise GvtzooError(f"{path} cannot be read, it seems damaged: {error}") from error
    if len(source) != len(target):
        raise GvtzooError(f"{path}: {len(source)} patches in X, but {len(target)} in Y")
    axes = axes or DEFAULT_AXES.get(source.ndim)
    source_patches = _patches(source, axes, network.dimensions, network.input_channels, path)
    target_patches = _patches(
        target, axes, network.output_dimensions, network.output_channels, path
    )
    return [
        PairedImage(
            f"{path.stem}[{number}]", {}, source_patches[number], target_patches[number], RAW, RAW
        )
        for number in range(len(source))
    ]


def _patches(
    array: np.ndarray, axes: str | None, dimensions: int, channels: int, path: Path
) -> np.ndarray:
    """A view with axes patch, channel, (z,) y, x.

    Raises
    ------
    GvtzooError
    """
    if axes is None or len(axes) != array.ndim or not set("SYX") <= set(axes) <= set("SCZYX"):
        raise GvtzooError(f"{path}: patches of shape {array.shape} cannot have axes {axes}")
    patches = xr.Variable(tuple(axes), array)
    if "C" not in axes:
        patches = patches.set_dims({"C": 1, **patches.sizes})
    if dimensions == 2 and patches.sizes.get("Z") == 1:
        patches = patches.isel(Z=0)
    wanted = ("S", "C", *"ZYX"[-dimensions:])
    if set(patches.dims) != set(wanted) or patches.sizes["C"] != channels:
        raise GvtzooError(
            f"{path}: patches of shape {array.shape} with axes {axes} do not suit the network, "
            f"which takes {channels} × {'ZYX'[-dimensions:]}"
        )
    return np.asarray(patches.transpose(*wanted).data)


def _test_images(folder: Path, recipe: Recipe) -> Iterator[PairedImage]:
    if (folder / TRUTH).is_dir():
        for condition in sorted(path for path in folder.iterdir() if path.is_dir()):
            if condition.name != TRUTH:
                yield from _condition(condition, folder / TRUTH, recipe)
        return
    for path in find_images(folder):
        frames = read_image(path, axes="TZYX")
        count = frames.sizes["t"] - 1
        for number in range(count):
            yield pair_images(
                f"{path.stem}, condition {count - number}",
                frames.isel(t=number),
                frames.isel(t=count),
                "test",
                recipe,
                (path,),
            )


def _condition(sources: Path, targets: Path, recipe: Recipe) -> Iterator[PairedImage]:
    for source, target in partners(sources, targets, both=False):
        yield read_pair(Pair(source, target), "test", recipe)
