"""Resampling in plane, to the pixel size that a network was trained for."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER, micrometers

SAME = 1e-3  # relative; smaller differences of pixel sizes are rounding in the files


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
        When the image's pixel size is unknown.
    """
    sizes = _in_micrometers(image)
    if recorded is not None:
        sizes = {**sizes, "y": recorded, "x": recorded}
    elif not {"y", "x"} <= set(sizes):
        raise GvtzooError(
            f"{image.name} has no pixel size in µm, and images of {pixel_size:g} µm are needed: "
            "say what it is with --set data.recorded_pixel_size=…"
        )
    factors = [sizes[axis] / pixel_size if axis in ("y", "x") else 1.0 for axis in image.dims]
    attributes = {
        **image.attrs,
        "pixel_size": {**sizes, "y": pixel_size, "x": pixel_size},
        "unit": MICROMETER,
    }
    if all(abs(factor - 1) < SAME for factor in factors):
        return image.assign_attrs(attributes)
    from scipy.ndimage import zoom

    resampled = zoom(image.to_numpy().astype(np.float32), factors, order=3, mode="nearest")
    return xr.DataArray(resampled, dims=image.dims, name=image.name, attrs=attributes)


def _in_micrometers(image: xr.DataArray) -> dict[str, float]:
    """Voxel sizes of an image, as far as their unit is known; t stays in seconds."""
    factor = micrometers(image.attrs.get("unit"))
    sizes = dict(image.attrs.get("pixel_size") or {})
    return {
        axis: size if axis == "t" else size * (factor or 0)
        for axis, size in sizes.items()
        if axis == "t" or factor is not None
    }
