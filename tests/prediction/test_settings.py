"""Settings are read in one way, from Python and from the command line."""

from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.prediction.settings import Settings


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"memory": "2GB"}, {"memory": 2_000_000_000}),
        ({"memory": 2e9}, {"memory": 2_000_000_000}),
        ({"memory": np.int64(5000)}, {"memory": 5000}),
        ({"block": "32,128,128"}, {"block": (32, 128, 128)}),
        ({"block": [64, np.int32(64)]}, {"block": (64, 64)}),
        ({"overlap": "0x8x8"}, {"overlap": (0, 8, 8)}),
        ({"tiling": "blocks", "dtype": "bfloat16"}, {"tiling": "blocks", "dtype": "bfloat16"}),
    ],
)
def test_what_is_meant_is_taken(given, read):
    settings = Settings(**given)
    assert {name: getattr(settings, name) for name in read} == read
    assert Settings(**vars(settings)) == settings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tiling": "block"}, "tiling is 'block'.*auto, whole, exact, blocks.*mean blocks"),
        ({"dtype": "fp16"}, "dtype is 'fp16'.*float32, bfloat16, float16"),
        ({"dtype": np.float16}, "dtype is"),
        ({"memory": "much"}, "'much' is not an amount"),
        ({"memory": 0}, "memory is 0"),
        ({"memory": -1.0}, "memory is -1.0"),
        ({"memory": float("nan")}, "memory is nan"),
        ({"memory": True}, "memory is True"),
        ({"memory": (1,)}, "memory is"),
        ({"block": 64}, "block is 64"),
        ({"block": "64,,64"}, "block is '64,,64'"),
        ({"block": (64, 0)}, "block is"),
        ({"block": (64.5, 64)}, "block is"),
        ({"block": ()}, "block is"),
        ({"overlap": (-1, 8)}, "overlap is"),
    ],
)
def test_anything_else_ends_in_one_line(given, words):
    with pytest.raises(GvtzooError, match=words) as caught:
        Settings(**given)
    assert "\n" not in str(caught.value)
