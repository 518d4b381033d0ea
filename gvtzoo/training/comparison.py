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
    image, axes = _with_axes(model, source)
    return model.predict(image, axes=axes, resample=False, **options).to_numpy()


def knows(model: Model, source: np.ndarray) -> bool:
    """Whether a source (channel, (z,) y, x) is like the images that a model was trained on.

    Not, where the model does not say what these were like.

    Parameters
    ----------
    model : Model
    source : ndarray
        (channel, (z,) y, x), in its own units.
    """
    image, axes = _with_axes(model, source)
    found = model.fit(image, axes=axes, resample=False)
    return found is not None and found.fits


def _with_axes(model: Model, source: np.ndarray) -> tuple[np.ndarray, str]:
    """A source as a model takes it, and its axes."""
    spatial = "zyx"[-(source.ndim - 1) :]
    takes_planes = len(spatial) > model.config.network.dimensions  # as its channels
    takes_channels = "c" in model.axes and not takes_planes
    return (source, f"c{spatial}") if takes_channels else (source[0], spatial)
