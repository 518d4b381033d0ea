"""``gvtzoo preview``."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from command_line import invoke as run
from matplotlib.image import imread

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import write_image
from gvtzoo.images.lazy import LazyImage
from gvtzoo.prediction.part import middle_part
from gvtzoo.report.preview import Previewed, draw_preview

NUCLEI = "gvtnet-denoising-nuclei"


@pytest.fixture
def stack(tmp_path):
    values = np.random.default_rng(0).poisson(20, (24, 300, 280)).astype(np.uint16)
    image = xr.DataArray(
        values[:4, :24, :32],
        dims=("z", "y", "x"),
        attrs={"pixel_size": {"z": 0.3, "y": 0.2, "x": 0.2}, "unit": "micrometer"},
    )
    write_image(tmp_path / "stack.tif", image)
    return tmp_path / "stack.tif"


def test_models_are_drawn_side_by_side(stack, tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert run("preview", NUCLEI, stack, "-o", one, "--device", "cpu").exit_code == 0
    found = run("preview", NUCLEI, NUCLEI, stack, "-o", two, "--device", "cpu")
    assert found.exit_code == 0
    assert found.stdout.splitlines() == [str(two)]
    assert imread(two).shape[1] > imread(one).shape[1] * 1.3


def test_a_region_is_drawn(stack, tmp_path):
    wide = tmp_path / "wide.png"
    found = run("preview", NUCLEI, stack, "-o", wide, "--region", ":,0:8,:", "--device", "cpu")
    assert found.exit_code == 0
    assert imread(wide).shape[1] > 3 * imread(wide).shape[0] / 2
    found = run("preview", NUCLEI, stack, "-o", tmp_path / "no.png", "--region", ":,0:99,:")
    assert "24 voxels" in str(found.exception)


def test_an_existing_picture_stays(stack, tmp_path):
    (tmp_path / "p.png").write_bytes(b"mine")
    found = run("preview", NUCLEI, stack, "-o", tmp_path / "p.png")
    assert isinstance(found.exception, GvtzooError)
    assert (tmp_path / "p.png").read_bytes() == b"mine"


def test_only_pictures_are_written(stack, tmp_path):
    found = run("preview", NUCLEI, stack, "-o", tmp_path / "p.tif")
    assert ".png" in str(found.exception)


def test_the_part_is_small_and_in_the_middle():
    class Stacks:
        axes = output_axes = ("z", "y", "x")

    image = LazyImage(np.broadcast_to(np.uint8(0), (9, 40, 1000, 100)), ("t", "z", "y", "x"))
    assert middle_part(image, Stacks()) == {
        "t": slice(4, 5),
        "z": slice(12, 28),
        "y": slice(372, 628),
        "x": slice(0, 100),
    }


def test_a_projection_takes_all_planes():
    class Projection:
        axes, output_axes = ("z", "y", "x"), ("y", "x")

    image = LazyImage(np.zeros((40, 32, 32)), ("z", "y", "x"))
    assert middle_part(image, Projection())["z"] == slice(0, 40)


def test_images_in_the_same_units_have_the_same_contrast():
    generator = np.random.default_rng(0)
    source, good = generator.normal(100, 30, (20, 24)), generator.normal(100, 5, (20, 24))
    other = generator.normal(0, 1, (20, 24))
    figure = draw_preview(
        source,
        [Previewed("a", good, np.abs(other)), Previewed("b", other, same_units=False)],
        pixel_size=0.2,
        unit="micrometer",
    )
    limits = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert limits[0] == limits[1]
    assert limits[3] != limits[1]
    assert any("µm" in text.get_text() for axes in figure.axes for text in axes.texts)
