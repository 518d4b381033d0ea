"""Which images are large, told without PyTorch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gvtzoo.images.lazy import LazyImage
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.prediction.large import may_take_long
from gvtzoo.prediction.settings import as_data_array


@pytest.mark.parametrize(
    ("axes", "shape", "dimensions", "features", "long"),
    [
        ("YX", (2048, 2048), 2, 12, False),
        ("TYX", (100, 2048, 2048), 2, 12, True),
        ("ZYX", (32, 256, 256), 3, 12, False),
        ("ZYX", (32, 256, 256), 3, 32, True),
        ("CYX", (1000, 512, 512), 2, 12, False),
    ],
)
def test_the_network_decides_what_takes_long(axes, shape, dimensions, features, long):
    config = NetworkConfig(
        dimensions=dimensions,
        features=features,
        depth=1,
        encoder_blocks=(1,),
        downsampling=(),
        upsampling=(),
        decoder_blocks=(),
    )
    image = np.broadcast_to(np.uint16(0), shape)
    model = SimpleNamespace(config=SimpleNamespace(network=config))
    assert may_take_long(model, LazyImage.of(as_data_array(image, axes, ()))) == long
