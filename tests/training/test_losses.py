"""Losses against their formulas, and the likelihoods behind them."""

from __future__ import annotations

import math

import pytest
import torch

from gvtzoo.recipes.recipe import load_recipe, with_settings
from gvtzoo.training.losses import mae, mae_with_uncertainty, mse, mse_with_uncertainty
from gvtzoo.training.module import TrainingModule, balance


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(2, 3, 1, 8, 8, generator=generator)
    sigma = 0.1 + torch.rand(3, 1, 8, 8, generator=generator)
    return prediction, sigma, target


def test_mse_and_mae(images):
    prediction, _, target = images
    assert mse(prediction, target).item() == pytest.approx(
        ((prediction - target) ** 2).mean().item()
    )
    assert mae(prediction, target).item() == pytest.approx(
        (prediction - target).abs().mean().item()
    )


def test_mae_with_uncertainty_is_a_laplace_likelihood(images):
    prediction, sigma, target = images
    likelihood = torch.distributions.Laplace(prediction, sigma).log_prob(target)
    expected = -likelihood.mean() - math.log(2)
    torch.testing.assert_close(mae_with_uncertainty(prediction, sigma, target), expected)


def test_mse_with_uncertainty_is_a_normal_likelihood(images):
    prediction, sigma, target = images
    likelihood = torch.distributions.Normal(prediction, sigma).log_prob(target)
    expected = -likelihood.mean() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(mse_with_uncertainty(prediction, sigma, target), expected)


@pytest.mark.parametrize("loss", [mae_with_uncertainty, mse_with_uncertainty])
def test_weighted_likelihood_trains_the_prediction_like_the_plain_loss(images, loss):
    prediction, sigma, target = images
    prediction.requires_grad_()
    loss(prediction, sigma, target, weight=1).backward()
    difference = prediction.detach() - target
    expected = difference.sign() if loss is mae_with_uncertainty else difference
    torch.testing.assert_close(prediction.grad, expected / difference.numel())


def test_the_best_sigma_is_the_mean_absolute_error():
    error = torch.full((100,), 0.25)
    sigmas = torch.linspace(0.05, 1, 96)
    losses = [mae_with_uncertainty(error, sigma, torch.zeros(100)).item() for sigma in sigmas]
    assert sigmas[losses.index(min(losses))].item() == pytest.approx(0.25, abs=0.01)


def test_balanced_patches_of_blind_spots_count_only_what_is_known(images):
    _, _, target = images
    recipe = with_settings(
        load_recipe("denoising/exposures", ["network.features=4"]),
        data={"without_truth": "blind_spots"},
    )
    module = TrainingModule(recipe)
    noise = torch.tensor([0.1, 1.0, 0.0]).reshape(3, 1, 1, 1)
    sign = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0)
    source = target + noise * sign
    target = target.clone()
    target[:, :, ::2] = math.nan
    target[2] = math.nan  # a patch of which nothing is known
    importance = balance(source, target)
    assert importance.flatten()[:2].tolist() == pytest.approx([10.0, 1.0], rel=1e-4)
    known = torch.isfinite(target)
    assert module.recipe.training.loss == "mae"
    found = module.loss((source,), target, 0.0, importance)
    expected = ((source - target).abs() * importance)[known].mean()
    torch.testing.assert_close(found, expected)
