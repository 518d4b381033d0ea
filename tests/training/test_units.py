"""Training looks at the units of pairs, and at which of the two is the noisy one."""

from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.images import PairedImage
from gvtzoo.training.units import settle_units

RECIPE = {
    "name": "tiny",
    "task": "denoising",
    "network": {"preset": "denoising", "dimensions": 2, "features": 2},
    "normalization": {"target": "as_source"},
    "training": {"patch": [16, 16]},
}
Y, X = np.mgrid[:64, :64]


def pair(gain: float = 1, offset: float = 0, seed: int = 0) -> PairedImage:
    clean = 100 + 50 * np.sin(Y / 9 + seed) * np.cos(X / 7)
    noisy = np.random.default_rng(seed).poisson(clean)
    fitted = FittedNormalization(100, 50)
    arrays = (noisy[None], (gain * clean + offset)[None])
    return PairedImage(str(seed), {}, *arrays, fitted, fitted)


def settled(*pairs: PairedImage, **changes):
    return settle_units(Recipe.model_validate({**RECIPE, **changes}), pairs, [])


def test_the_same_units_stay_as_they_are():
    recipe, images, _ = settled(pair(), pair(seed=1))
    assert recipe == Recipe.model_validate(RECIPE)
    assert images[0].target_normalization == FittedNormalization(100, 50)


def test_a_common_gain_is_stored_and_undone(caplog):
    recipe, images, _ = settled(pair(60, 500), pair(60, 500, seed=1))
    units = recipe.normalization.target_units
    assert units.gain == pytest.approx(60, rel=0.05)
    box = (slice(0, 64), slice(0, 64))
    source, target = images[0].patch(box, np.random.default_rng(0))
    assert target.mean() == pytest.approx(source.mean(), abs=0.1)
    undone = recipe.normalization.of_prediction(images[0].source_normalization)
    np.testing.assert_allclose(undone.denormalize(target), images[0].target, rtol=1e-4)
    assert "predictions are given in the targets'" in caplog.text


def test_gains_that_differ_are_fitted_pair_by_pair(caplog):
    recipe, images, _ = settled(pair(3), pair(40, seed=1), pair(9, 700, seed=2))
    assert recipe.normalization.target == "fitted"
    for image in images:
        source, target = image.patch((slice(0, 64), slice(0, 64)), np.random.default_rng(0))
        assert target.std() == pytest.approx(source.std(), rel=0.15)
        assert target.mean() == pytest.approx(source.mean(), abs=0.1)
    assert "in others in each pair" in caplog.text


def test_swapped_pairs_are_refused_unless_they_are_wanted():
    right = pair()
    swapped = PairedImage(
        "swapped",
        {},
        right.target,
        right.source,
        right.source_normalization,
        right.target_normalization,
    )
    with pytest.raises(GvtzooError, match=r"swapped\?.*data\.noisier_targets=true"):
        settled(swapped)
    settled(swapped, data={"noisier_targets": True})
