"""Images whose axes are not those of the training are predicted, and it is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gvtzoo.images.lazy import LazyImage
from gvtzoo.prediction.axes import unlike_training


@dataclass
class Takes:
    axes: tuple[str, ...]
    output_axes: tuple[str, ...] = ("y", "x")


VOLUMES, PLANES = Takes(("z", "y", "x")), Takes(("y", "x"))
PLANES_AS_CHANNELS = Takes(("c", "y", "x"))


@pytest.mark.parametrize(
    ("model", "axes", "words"),
    [
        (VOLUMES, "zyx", ""),
        (VOLUMES, "tzyx", ""),
        (VOLUMES, "yx", "a single plane"),
        (VOLUMES, "tyx", "if T is Z, say so with --axes ZYX"),
        (VOLUMES, "tcyx", "--axes ZCYX"),
        (PLANES, "yx", ""),
        (PLANES, "tyx", ""),
        (PLANES, "zyx", "3 planes are predicted one by one"),
        (PLANES_AS_CHANNELS, "zyx", ""),
    ],
)
def test_what_is_said(model, axes, words):
    image = LazyImage(np.zeros((3,) * len(axes)), tuple(axes), "image")
    said = unlike_training(model, image, "the model")
    assert words in said
    assert bool(words) == bool(said)
