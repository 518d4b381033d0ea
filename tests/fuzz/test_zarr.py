"""OME-Zarr from strangers: an image, or one line that says why not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hostile import fuzz, mutations, outcome
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo.images.files import read_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.ome_zarr_writer import create_ome_zarr

SHAPE = (4, 12, 10)
FILES = {
    "0.4": [".zattrs", ".zgroup", "0/.zarray", "0/0/0/0"],
    "0.5": ["zarr.json", "0/zarr.json", "0/c/0/0/0"],
}
CASES = [(version, name) for version, names in FILES.items() for name in names]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0, -1, 1, 2**31, 10**18, "..", "/etc", "bytes", "|O", "<U9", "zstd", [], {}])
    | st.floats()
    | st.lists(st.integers(-3, 10**12), max_size=4)
    | st.text(max_size=8)
)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarr")
    array = np.arange(np.prod(SHAPE), dtype="u2").reshape(SHAPE)
    image = LazyImage(array, ("z", "y", "x"), "a", {"z": 1.0, "y": 0.5, "x": 0.5}, "micrometer")
    for version in FILES:
        path = folder / f"{version}.zarr"
        create_ome_zarr(path, image, chunks=(2, 6, 5), version=version)[...] = array
    return folder


@pytest.fixture
def copies(images, tmp_path):
    def copy(version):
        path = tmp_path / "a.zarr"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(images / f"{version}.zarr", path)
        return path

    return copy


def check(path):
    image = outcome(read_image, path)
    if image is not None:
        assert {"y", "x"} <= set(image.dims)
        assert all(0 < size < np.inf for size in image.attrs["pixel_size"].values())


def nodes(tree, path=()):
    """Every place in a JSON tree."""
    if isinstance(tree, (dict, list)):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield (*path, key)
            yield from nodes(child, (*path, key))


@pytest.mark.parametrize("version", FILES)
def test_the_images_themselves_are_read(copies, version):
    image = outcome(read_image, copies(version))
    assert image.shape == SHAPE
    assert image.attrs["unit"] == "micrometer"


@pytest.mark.parametrize(("version", "name"), CASES)
@fuzz(8)
@given(mutate=mutations())
def test_damaged_files(copies, version, name, mutate):
    path = copies(version)
    (path / name).write_bytes(mutate((path / name).read_bytes()))
    check(path)


@pytest.mark.parametrize(
    ("version", "name"), [case for case in CASES if "." in case[1] and "/c/" not in case[1]]
)
@fuzz(15)
@given(data=st.data(), value=VALUES)
def test_metadata_that_lies(copies, version, name, data, value):
    path = copies(version)
    tree = json.loads((path / name).read_text())
    *parents, last = data.draw(st.sampled_from(list(nodes(tree))))
    place = tree
    for key in parents:
        place = place[key]
    place[last] = value
    (path / name).write_text(json.dumps(tree))
    check(path)
