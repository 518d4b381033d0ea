"""Files of microscopes are read with axes, pixel size and channel names."""

from __future__ import annotations

import numpy as np
import pytest
from pylibCZIrw import czi

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import find_images, read_image, write_image


@pytest.fixture
def stack() -> np.ndarray:
    """(channel, z, y, x)."""
    return np.random.default_rng(0).integers(0, 4000, (2, 5, 24, 20)).astype(np.uint16)


@pytest.fixture
def path(tmp_path, stack):
    path = tmp_path / "cells.czi"
    with czi.create_czi(str(path)) as file:
        for channel, planes in enumerate(stack):
            for z, plane in enumerate(planes):
                file.write(data=plane[..., None], plane={"C": channel, "Z": z, "T": 0})
        names = {0: "bright-field", 1: "DNA"}
        scale = {"scale_x": 0.108e-6, "scale_y": 0.108e-6, "scale_z": 0.29e-6}
        file.write_metadata("cells", channel_names=names, **scale)
    return path


@pytest.mark.parametrize("channel", [1, "DNA"])
def test_a_channel_of_a_czi_file(path, stack, channel):
    image = read_image(path, channel=channel)
    assert image.dims == ("z", "y", "x")
    np.testing.assert_array_equal(image, stack[1])
    assert image.attrs["pixel_size"] == pytest.approx({"z": 0.29, "y": 0.108, "x": 0.108})
    assert image.attrs["unit"] == "micrometer"


def test_channels_are_asked_for_by_name(path):
    with pytest.raises(GvtzooError, match=r"2 channels \(bright-field, DNA\)"):
        read_image(path)


def test_czi_files_are_found_but_not_written(path):
    assert find_images(path.parent) == [path]
    with pytest.raises(GvtzooError, match=r"\.czi is not a format that can be written"):
        write_image(path.with_name("new.czi"), read_image(path, channel=0))


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "damaged.czi"
    path.write_bytes(b"ZISRAWFILE" + b"\0" * 100)
    with pytest.raises(GvtzooError, match=r"damaged\.czi cannot be read"):
        read_image(path)


def test_formats_without_a_reader_are_explained(tmp_path):
    path = tmp_path / "cells.lif"
    path.write_bytes(b"no image")
    with pytest.raises(GvtzooError, match=r"cells\.lif cannot be read"):
        read_image(path)
