"""What a prediction will take is said before it starts."""

from __future__ import annotations

import numpy as np
import pytest

import gvtzoo
from gvtzoo.images.lazy import LazyImage
from gvtzoo.networks import PRESETS
from gvtzoo.prediction.engines import make_engine
from gvtzoo.prediction.estimate import amount, duration, estimate, time_of_tiles
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import LocalExecutor, Runner
from gvtzoo.prediction.exact.plan import make_plans
from gvtzoo.prediction.settings import Settings, as_data_array

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def model():
    return gvtzoo.load("gvtnet-denoising-nuclei")


def image(*shape, axes="ZYX"):
    return LazyImage.of(as_data_array(np.zeros(shape, np.uint16), axes, ()))


class Counting(LocalExecutor):
    """Counts the tiles of each pass."""

    def __init__(self):
        super().__init__()
        self.tiles = []

    def run(self, network, task, boxes, combine):
        self.tiles.append(len(boxes))
        return super().run(network, task, boxes, combine)


@pytest.mark.parametrize("name", PRESETS)
def test_passes_and_tiles_are_those_of_the_prediction(name):
    config = PRESETS[name].model_copy(update={"features": 4})
    engine = make_engine(config.build().eval(), Settings(engine="torch", **CPU))
    network = engine.network
    size = tuple(4 * m for m in network.multiple)
    plans = make_plans(network, size, 10**5)
    counting = Counting()
    predict_exact(network, np.zeros((1, *size), np.float32), plans=plans, runner=Runner(counting))
    seconds, passes, tiles = time_of_tiles(engine, (1, *size), plans)
    assert seconds > 0 and tiles > 1
    assert (passes, tiles) == (len(counting.tiles), counting.tiles[-1])


def test_whole_images_of_several_frames(model):
    found = estimate(model, image(2, 8, 30, 32, axes="TZYX"), Settings(**CPU))
    assert (found.tiling, found.tile, found.tiles, found.frames) == ("whole", (8, 32, 32), 1, 2)
    assert found.disk == 4 * 2 * 8 * 30 * 32
    assert found.seconds > 0


def test_exact_tiles_fit_the_memory_that_is_given(model):
    settings = Settings(tiling="exact", memory=3_000_000, **CPU)
    found = estimate(model, image(16, 64, 64), settings)
    assert found.tiling == "exact" and found.tiles > 1 and found.passes > 3
    assert found.memory <= found.allowed == 3_000_000
    assert found.disk > 4 * 16 * 64 * 64  # feature maps too


def test_maps_without_room_in_memory_count_as_disk(model):
    """A finest map of 12 channels takes 3.1 MB."""
    written = 4 * 16 * 64 * 64
    found = [
        estimate(
            model,
            image(16, 64, 64),
            Settings(tiling="exact", memory=memory, **CPU),
            to_file=False,
        )
        for memory in (5_000_000, 100_000_000)
    ]
    assert [one.disk > 12 * written for one in found] == [True, False]
    assert found[1].disk == written
    assert all(one.memory <= one.allowed for one in found)


def test_what_does_not_fit_says_what_would(model):
    found = estimate(model, image(16, 64, 64), Settings(tiling="whole", memory=1_000_000, **CPU))
    assert found.memory > found.allowed
    assert found.lines()[-1].startswith("to fit: --memory ")


def test_blocks_are_those_of_the_prediction(model):
    settings = Settings(tiling="blocks", block=(8, 32, 32), overlap=(0, 16, 16), **CPU)
    found = estimate(model, image(8, 64, 64), settings)
    assert (found.tile, found.tiles) == ((8, 32, 32), 9)


def test_times_and_sizes_for_people():
    assert [duration(t) for t in (0.2, 40, 600, 12_000)] == ["1 s", "40 s", "10 min", "3 h 20 min"]
    assert [amount(n) for n in (10, 12_000_000, 3_400_000_000)] == ["1 MB", "12 MB", "3.4 GB"]
