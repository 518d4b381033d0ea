"""Models on training images, which training and fine-tuning compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gvtzoo.prediction.model import Model

COLUMNS = {"r": "r", "nrmse": "NRMSE", "psnr": "PSNR", "ssim": "SSIM"}


def predict(model: Model, source: np.ndarray, **options: Any) -> np.ndarray:
    """A model's prediction of a source (channel, (z,) y, x), without its channel axis.

    The source is a training image, which has the network's pixel size already. Options are those
    of `Model.predict`.

    Parameters
    ----------
    model : Model
    source : ndarray
        (channel, (z,) y, x), in its own units.
    **options
        Of `Model.predict`.
    """
    spatial = "zyx"[-(source.ndim - 1) :]
    takes_planes = len(spatial) > model.config.network.dimensions  # as its channels
    takes_channels = "c" in model.axes and not takes_planes
    image, axes = (source, f"c{spatial}") if takes_channels else (source[0], spatial)
    return model.predict(image, axes=axes, resample=False, **options).to_numpy()
