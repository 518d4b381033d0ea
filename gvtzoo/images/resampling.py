"""Resampling in plane, to the pixel size that a network was trained for, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER, micrometers

SAME = 1e-3  # relative; smaller differences of pixel sizes are rounding in the files
CUBIC = 3


def in_plane_micrometers(
    sizes: Mapping[str, float], unit: str | None
) -> tuple[float, float] | None:
    """Pixel size along y and x in µm; None where it is unknown, or in no unit of length.

    Parameters
    ----------
    sizes : mapping of str to float
        By axis, in `unit`.
    unit : str, optional
    """
    factor = micrometers(unit)
    if factor is None or not {"y", "x"} <= set(sizes):
        return None
    return sizes["y"] * factor, sizes["x"] * factor


def is_same(first: float, second: float) -> bool:
    """Whether two pixel sizes are equal, save for rounding in files."""
    return abs(first / second - 1) < SAME


def resampled_size(
    size: Sequence[int], pixel_size: Sequence[float], wanted: float
) -> tuple[int, int]:
    """Whole pixels along y and x at another pixel size.

    Parameters
    ----------
    size : sequence of int
        Along y and x.
    pixel_size : sequence of float
        That of the image along y and x, in µm.
    wanted : float
        The other one, in µm.
    """
    y, x = (max(1, round(n * have / wanted)) for n, have in zip(size, pixel_size, strict=True))
    return y, x


def zoom_plane(plane: np.ndarray, size: Sequence[int], order: int = CUBIC) -> np.ndarray:
    """A plane (y, x) with another number of pixels, its corners where they were, by splines.

    Parameters
    ----------
    plane : ndarray
    size : sequence of int
        Along y and x.
    order : int
        Of the splines: 3 for cubic ones, 1 for linear ones, which never overshoot.

    Returns
    -------
    ndarray
        (y, x), float32.
    """
    from scipy.ndimage import zoom

    factors = [new / old for new, old in zip(size, plane.shape, strict=True)]
    return zoom(plane.astype(np.float32), factors, order=order, mode="nearest")


def resample_in_plane(
    image: xr.DataArray, pixel_size: float, recorded: float | None = None
) -> xr.DataArray:
    """An image with another pixel size along y and x, by cubic splines.

    Parameters
    ----------
    image : DataArray
        Axes y and x, and any others, which are left alone.
    pixel_size : float
        What is wanted, in µm.
    recorded : float, optional
        What the image has, in µm, whatever its attributes say.

    Returns
    -------
    DataArray
        float32 where it was resampled; sizes are rounded to whole pixels.

    Raises
    ------
    GvtzooError
        When the image's pixel size is unknown, or in no unit of length.
    """
    sizes, unit = dict(image.attrs.get("pixel_size") or {}), image.attrs.get("unit")
    have = (recorded, recorded) if recorded is not None else in_plane_micrometers(sizes, unit)
    if have is None:
        raise GvtzooError(
            f"{image.name} has no pixel size in µm, and images of {pixel_size:g} µm are needed: "
            "say what it is with --set data.recorded_pixel_size=…"
        )
    attributes = {**image.attrs, **calibrated(sizes, unit, pixel_size, pixel_size)}
    if all(is_same(size, pixel_size) for size in have):
        return image.assign_attrs(attributes)
    planes = image.transpose(..., "y", "x")
    size = resampled_size(planes.shape[-2:], have, pixel_size)
    array = np.empty((*planes.shape[:-2], *size), np.float32)
    for place in np.ndindex(planes.shape[:-2]):
        array[place] = zoom_plane(planes.values[place], size)
    resampled = xr.DataArray(array, dims=planes.dims, name=image.name, attrs=attributes)
    return resampled.transpose(*image.dims)


def calibrated(
    sizes: Mapping[str, float], unit: str | None, y: float, x: float
) -> dict[str, object]:
    """Attributes ``pixel_size`` and ``unit`` of an image with these pixels in plane, in µm.

    The distance of planes is converted, and left out where it is in no unit of length.

    Parameters
    ----------
    sizes : mapping of str to float
        The pixel sizes that the image had, by axis.
    unit : str, optional
        Of these.
    y, x : float
        The pixel size in plane, in µm.
    """
    factor = micrometers(unit)
    kept = {axis: size for axis, size in sizes.items() if axis not in "zyx"}
    if factor is not None and "z" in sizes:
        kept["z"] = sizes["z"] * factor
    return {"pixel_size": {**kept, "y": y, "x": x}, "unit": MICROMETER}
