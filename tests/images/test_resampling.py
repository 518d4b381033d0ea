"""Planes at another pixel size, and back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import zoom

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.resampling import in_plane_micrometers, resample_in_plane, zoom_plane


def blobs(*shape: int) -> np.ndarray:
    """An image whose details are a few pixels wide."""
    small = np.random.default_rng(0).random([max(4, size // 8) for size in shape])
    factors = [size / other for size, other in zip(shape, small.shape, strict=True)]
    return zoom(small, factors, order=3).astype(np.float32)


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [
        ("micrometer", 0.1, 0.1),
        ("µm", 0.1, 0.1),
        ("microns", 0.1, 0.1),
        ("nm", 100.0, 0.1),
        ("mm", 1e-4, 0.1),
        ("", 0.1, None),
        ("pixel", 1.0, None),
        ("parsec", 1.0, None),
        (None, 0.1, None),
    ],
)
def test_pixel_sizes_in_every_unit_of_length(unit, size, expected):
    found = in_plane_micrometers({"y": size, "x": size}, unit)
    assert found == (None if expected is None else pytest.approx((expected, expected)))


def test_a_size_of_one_axis_is_not_enough():
    assert in_plane_micrometers({"x": 0.1}, "micrometer") is None


def test_planes_are_resampled_as_the_stack_is():
    stack = blobs(5, 40, 48)
    image = xr.DataArray(
        stack,
        dims=("z", "y", "x"),
        attrs={"pixel_size": {"z": 500, "y": 100, "x": 100}, "unit": "nm"},
    )
    found = resample_in_plane(image, 0.25)
    expected = zoom(stack, (1, 16 / 40, 19 / 48), order=3, mode="nearest")
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.attrs == {"pixel_size": {"z": 0.5, "y": 0.25, "x": 0.25}, "unit": "micrometer"}


def test_other_axes_stay_where_they_are():
    image = xr.DataArray(blobs(32, 3, 32), dims=("y", "z", "x"))
    found = resample_in_plane(image, 0.2, recorded=0.1)
    assert (found.dims, found.shape) == (("y", "z", "x"), (16, 3, 16))


def test_an_unknown_size_is_not_guessed():
    image = xr.DataArray(blobs(8, 8), dims=("y", "x"), attrs={"pixel_size": {"y": 1, "x": 1}})
    with pytest.raises(GvtzooError, match="has no pixel size in µm"):
        resample_in_plane(image, 0.2)


def test_there_and_back_is_the_same_plane():
    plane = blobs(64, 80)
    back = zoom_plane(zoom_plane(plane, (48, 60)), plane.shape)
    assert back.shape == plane.shape
    assert np.abs(back - plane).max() < 0.02 * np.ptp(plane)
