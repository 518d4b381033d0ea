"""A part of an image is predicted as the whole would be there."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from image_server import serving
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.demo import demo_images
from gvtzoo.hub.load import load
from gvtzoo.images.files import open_image, read_image, write_image
from gvtzoo.prediction.exact.out_of_core import Output, identity_of, predict_large
from gvtzoo.prediction.region import parse_region
from gvtzoo.prediction.settings import Settings

MODEL = "gvtnet-denoising-nuclei"
REGION = "2:9,10:41,24:50"
BOX = {"z": slice(2, 9), "y": slice(10, 41), "x": slice(24, 50)}


@pytest.fixture(scope="module")
def model():
    return load(MODEL)


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    noisy, _ = demo_images()
    return noisy[24:37, :62, 20:150]


@pytest.fixture(scope="module")
def expected(model, stack) -> xr.DataArray:
    return model.predict(stack, tiling="whole", device="cpu")


def assert_close(found, expected):
    assert found.dims == expected.dims
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.ptp(expected.to_numpy()))


@pytest.mark.parametrize("tiling", ["whole", "exact"])
def test_a_region_is_the_part_of_the_whole(model, stack, expected, tiling):
    found, sigma = model.predict(
        stack, region=REGION, tiling=tiling, memory=15_000_000, device="cpu", uncertainty=True
    )
    assert_close(found, expected.isel(BOX))
    assert sigma.shape == found.shape
    size = stack.attrs["pixel_size"]
    assert found.attrs["origin"] == pytest.approx(
        {axis: part.start * size[axis] for axis, part in BOX.items()}
    )


def test_from_disk_to_disk(tmp_path, model, stack, expected):
    write_image(tmp_path / "a.zarr", stack)
    settings = Settings(device="cpu", tiling="exact", memory=15_000_000)
    predict_large(
        model,
        open_image(tmp_path / "a.zarr"),
        Output(tmp_path / "b.zarr"),
        settings,
        identity=identity_of(tmp_path / "a.zarr"),
        region=BOX,
    )
    found = read_image(tmp_path / "b.zarr")
    assert_close(found, expected.isel(BOX))
    assert found.attrs["origin"]["y"] == pytest.approx(10 * stack.attrs["pixel_size"]["y"])


def test_the_attention_of_the_region_is_about_the_same(model, stack, expected):
    found = model.predict(stack, region=BOX, attention="region", device="cpu")
    part = expected.isel(BOX)
    difference = np.abs(found.to_numpy() - part.to_numpy()).mean()
    assert 0 < difference < 0.02 * np.ptp(expected.to_numpy())


def test_times_and_two_axes(model, stack):
    movie = stack[:8].expand_dims(t=2).copy()
    movie[1] += 5
    found = model.predict(movie, region=":,10:41,24:50", device="cpu")
    assert found.sizes == {"t": 2, "z": 8, "y": 31, "x": 26}
    second = model.predict(movie[1], region="10:41,24:50", device="cpu")
    assert_close(found[1], second)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("1:2", "is not of the form z0:z1,y0:y1,x0:x1"),
        ("a:b,:,:", "is not of the form"),
        ("0:14,:,:", "0:14 along Z does not lie in the image, which has 13 voxels there"),
        (":,9:9,:", "9:9 along Y does not lie in the image"),
        ({"t": slice(0, 1)}, "has no axis T"),
    ],
)
def test_regions_that_are_none(model, stack, region, message):
    with pytest.raises(GvtzooError, match=message):
        model.predict(stack, region=region)


def test_what_a_region_is():
    assert parse_region("0:8, 100:200 ,:") == {"z": slice(0, 8), "y": slice(100, 200)}
    assert parse_region("5:,:7") == {"y": slice(5, None), "x": slice(0, 7)}


def chunks_of(path) -> int:
    return sum(1 for file in (path / "0" / "c").rglob("*") if file.is_file())


def test_a_region_of_an_image_on_a_server(tmp_path, stack, expected):
    """Chunks are 13×31×65: a region in one of four, with a margin of 32 voxels in two."""
    import zarr

    write_image(tmp_path / "in.zarr", stack)
    whole = zarr.open_group(tmp_path / "in.zarr", mode="r+")
    whole.create_array(
        "0", data=stack.to_numpy(), chunks=(13, 31, 65), dimension_names=list("zyx"), overwrite=True
    )
    counts = {}
    with serving(tmp_path) as server:
        for attention in ("region", "image"):
            before = len(server.chunks)
            output = str(tmp_path / f"{attention}.zarr")
            options = f"--region :,0:31,2:30 --attention {attention} --tiling exact --memory 15MB"
            done = CliRunner().invoke(
                app, ["predict", MODEL, f"{server.url}/in.zarr", "-o", output, *options.split()]
            )
            assert done.exit_code == 0, done.output
            asked = server.chunks[before:]
            assert len(asked) == len(set(asked))
            counts[attention] = len(asked)
    assert counts == {"region": 2, "image": 4}
    part = expected.isel(y=slice(0, 31), x=slice(2, 30))
    found = read_image(tmp_path / "image.zarr")
    assert_close(found, part)
    assert found.attrs["origin"] == {"x": pytest.approx(2 * stack.attrs["pixel_size"]["x"])}
    assert read_image(tmp_path / "region.zarr").shape == part.shape
