import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gvtzoo.packages.clients import (
    CLIENTS,
    CannotPredictError,
    Outcome,
    TileSizes,
    jdll,
    loss,
    normalize,
)

NOTHING = [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
PERCENTILES = {"min_percentile": 2.0, "max_percentile": 99.8, "axes": ["channel", "y", "x"]}


def random_image(*sizes, seed=0):
    return np.random.default_rng(seed).random((1, 1, *sizes)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@example("Fiji (JDLL)", 20, 41, 8, 0)  # a tile that is mirrored by more than it holds of the image
@given(
    st.sampled_from(sorted(CLIENTS)),
    st.integers(20, 90),
    st.integers(20, 90),
    st.sampled_from([0, 4, 8]),
    st.sampled_from([0, 1, 4]),
)
def test_tiles_cover_the_image_whatever_its_size(client, height, width, halo, step):
    sizes = TileSizes((24, 24), (step, step), (halo, halo))
    image = random_image(height, width)
    try:
        outcome = CLIENTS[client](image, lambda tile: tile, sizes, NOTHING)
    except CannotPredictError:
        return
    np.testing.assert_array_equal(outcome.prediction, image)
    assert loss(outcome, image)[0] == 0


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["Fiji (JDLL)", "ilastik"]), st.integers(5, 70), st.integers(20, 70))
def test_tiles_cover_a_stack(client, depth, height):
    image = random_image(depth, height, 33)
    sizes = TileSizes((1, 16, 16), (1, 1, 1), (0, 0, 0))
    outcome = CLIENTS[client](image, lambda tile: tile, sizes, NOTHING)
    np.testing.assert_array_equal(outcome.prediction, image)


def test_fiji_hands_over_any_image_as_one_tile_in_steps_of_one():
    for step, tiles in ((1, 1), (4, 4)):
        sizes = TileSizes((32, 32), (step, step), (0, 0))
        assert jdll(random_image(250, 250), lambda tile: tile, sizes, NOTHING).tiles == tiles


def test_fiji_does_not_finish_large_images_and_refuses_thin_ones():
    large = np.broadcast_to(np.float32(0), (1, 1, 8000, 8000))
    sizes = TileSizes((32, 32), (1, 1), (0, 0))
    with pytest.raises(CannotPredictError, match="50 million"):
        jdll(large, lambda tile: tile, sizes, NOTHING)
    with pytest.raises(CannotPredictError, match="3 times"):
        jdll(random_image(30, 200), lambda t: t, TileSizes((100, 100), (0, 0), (8, 8)), NOTHING)


def test_fiji_writes_margins_over_neighbours():
    """So that tiles with a halo are not exact there, whatever the network does."""
    sizes = TileSizes((32, 32), (0, 0), (8, 8))

    def wrong_in_the_margin(tile):
        wrong = tile.copy()
        wrong[..., :8, :] = wrong[..., :, :8] = -1
        return wrong

    outcome = jdll(random_image(64, 64), wrong_in_the_margin, sizes, NOTHING)
    assert outcome.tiles == 16
    assert (outcome.prediction == -1).any()


@pytest.mark.parametrize(("client", "per_tile"), [("ilastik", True), ("Fiji (JDLL)", False)])
def test_statistics_of_each_tile_or_of_the_image(client, per_tile):
    image = random_image(700, 100) + np.linspace(0, 5, 700, dtype=np.float32)[:, None]
    operations = [{"id": "scale_range", "kwargs": PERCENTILES}]
    sizes = TileSizes((16, 16), (1, 1), (0, 0))
    outcome = CLIENTS[client](image, lambda tile: tile, sizes, operations)
    whole = normalize(image, operations)
    largest, correlation, seams = loss(outcome, whole)
    assert (largest > 0.1) == per_tile
    assert (correlation < 0.99) == per_tile
    assert (seams is not None) == per_tile


def test_processing_is_that_of_the_format():
    image = random_image(50, 40) * 100
    linear = [{"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": -3.0}}]
    np.testing.assert_allclose(normalize(image, linear), image / 2 - 3, rtol=1e-6)
    fixed = [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 10.0, "std": 4.0}}]
    np.testing.assert_allclose(normalize(image, fixed), (image - 10) / 4, rtol=1e-5)
    scored = normalize(image, [{"id": "zero_mean_unit_variance", "kwargs": {}}])
    assert abs(scored.mean()) < 1e-4 and abs(scored.std() - 1) < 1e-4
    ranks = [{"id": "scale_range", "kwargs": PERCENTILES}]
    low, high = np.percentile(image, (2, 99.8))
    np.testing.assert_allclose(normalize(image, ranks), (image - low) / (high - low), rtol=1e-4)
    # JDLL's percentiles are values of the image.
    nearest = normalize(image, ranks, nearest_rank=True)
    assert (nearest == 0).any() and (nearest > 0.999999).any()
    with pytest.raises(CannotPredictError):
        normalize(image, [{"id": "softmax"}])


def test_losses_are_fractions_of_the_range():
    whole = np.zeros((1, 1, 4, 10), np.float32)
    whole[..., 0, 0] = 2
    prediction = whole.copy()
    prediction[..., 5:] += 0.5
    largest, correlation, seams = loss(Outcome(prediction, 2, ((), (5,))), whole)
    assert (largest, seams) == (0.25, 0.25)
    assert correlation < 1


def test_sizes_of_a_description(tiny):
    from gvtzoo.packages.reader import open_package

    rdf = open_package(tiny).rdf
    assert TileSizes.of(rdf) == TileSizes((16, 16), (1, 1), (0, 0))
    rdf["inputs"][0]["axes"][2]["size"] = 64
    rdf["outputs"][0]["axes"][3]["halo"] = 8
    assert TileSizes.of(rdf) == TileSizes((64, 16), (0, 1), (0, 8))
