"""Patches simulated on the device: noise as asked for, in the truth's units, and repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from gvtzoo.recipes.recipe import Recipe
from gvtzoo.training.data.simulation import PatchSimulator

PLAIN = {
    "photons": [50, 50],
    "read_noise": [1e-3, 1e-3],
    "gain": [1e3, 1e3],
    "correlation": 0,
    "hot_pixels": 0,
    "zoom": [1, 1],
    "anisotropy": [1, 1],
    "mix": 0,
    "grain": [1e7, 1e7],
    "synthetic": 0,
}


def recipe(dimensions: int = 3, **simulation: Any) -> Recipe:
    patch = [8, 16, 16][-dimensions:]
    return Recipe.model_validate(
        {
            "name": "simulated",
            "task": "denoising",
            "network": {"preset": "denoising", "features": 4, "dimensions": dimensions},
            "data": {"noise": {"photons": [20]}, "simulation": {**PLAIN, **simulation}},
            "normalization": {"target": "as_source"},
            "training": {"patch": patch, "batch_size": 8},
        }
    )


def wave(dimensions: int = 3) -> np.ndarray:
    z, y, x = np.mgrid[:16, :40, :48]
    stack = (1 + np.sin(z / 3) * np.sin(y / 5) * np.sin(x / 4)) / 2
    return stack.astype(np.float32)[-1] if dimensions == 2 else stack.astype(np.float32)


def batches(recipe: Recipe, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    image = wave(recipe.network.dimensions)
    simulator = PatchSimulator([image], recipe, torch.device("cpu"), 8)
    sources, targets = zip(*(simulator.batch(step) for step in range(count)), strict=True)
    return torch.cat(sources), torch.cat(targets)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_shapes_are_the_recipes(dimensions):
    source, target = batches(recipe(dimensions), 1)
    assert source.shape == target.shape == (8, 1, *(8, 16, 16)[-dimensions:])
    assert source.dtype == target.dtype == torch.float32


def test_a_step_gives_the_same_patches_whatever_came_before():
    one = PatchSimulator([wave()], recipe(), torch.device("cpu"), 8)
    other = PatchSimulator([wave()], recipe(), torch.device("cpu"), 8)
    one.batch(0)
    torch.testing.assert_close(one.batch(5), other.batch(5))
    assert not torch.equal(one.batch(5)[0], one.batch(6)[0])


def test_noise_has_mean_zero_and_falls_with_the_light():
    spreads = []
    for photons in (10, 1000):
        source, target = batches(recipe(photons=[photons, photons]))
        error = source - target
        assert abs(float(error.mean())) < 0.2 * float(error.std())
        spreads.append(float(error.std()))
    # 100 times the light: a tenth of the noise, but for the range, which is wider in the dark.
    assert 5 < spreads[0] / spreads[1] < 12


def test_correlated_noise_has_like_neighbours():
    def likeness(correlation: float) -> float:
        source, target = batches(recipe(correlation=correlation))
        error = source - target
        return float((error[..., 1:] * error[..., :-1]).mean() / error.square().mean())

    assert abs(likeness(0)) < 0.02
    assert likeness(1.0) > 0.05


def test_hot_pixels_shine():
    def outliers(hot_pixels: float) -> float:
        source, target = batches(recipe(hot_pixels=hot_pixels, photons=[1000, 1000]))
        error = (source - target).flatten(1)
        return float((error > 5 * error.std(1, keepdim=True)).float().mean())

    assert outliers(0) < 1e-4
    assert outliers(0.01) > 4e-4


def test_synthetic_stacks_join_the_real_ones():
    made = recipe(synthetic=0.5, synthetic_stacks=3, halve=False)
    simulator = PatchSimulator([wave()], made, torch.device("cpu"), 8)
    assert (simulator.real, len(simulator.stacks)) == (1, 4)


@pytest.mark.parametrize("change", [{"photons": [9, 2]}, {"zoom": [0, 1]}, {"grain": [-1, 2]}])
def test_ranges_are_checked(change):
    with pytest.raises(ValidationError, match="in order"):
        recipe(**change)
