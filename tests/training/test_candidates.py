"""Which weights are taken on the way from the original's to the trained ones."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from gvtzoo.metrics.pair import evaluate_pair
from gvtzoo.training import candidates
from gvtzoo.training.candidates import Reconstruction, choose_between
from gvtzoo.training.data.images import RAW, PairedImage


class Judge:
    """Scores networks of one weight, 0 at the original's, by a table."""

    def __init__(
        self, scores: dict[float, float], learned: dict[float, float] | None = None
    ) -> None:
        self.scores = scores
        self.learned = dict.fromkeys(scores, 0.3) if learned is None else learned
        self.original = SimpleNamespace(network=network(0.0))
        self.margin, self.tolerance = 0.1, 0.075

    def __call__(self, candidate: Any) -> float:
        return self.scores[float(candidate.weight)]

    def learned_gain(self, candidate: Any) -> float:
        return self.learned[float(candidate.weight)]


def network(weight: float) -> nn.Module:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ({0.25: -0.1, 0.5: -0.2, 0.75: -0.3, 1.0: -0.4}, 1.0),
        ({0.25: -0.1, 0.5: -0.36, 0.75: -0.4, 1.0: -0.38}, 0.5),
        ({0.25: -0.12, 0.5: -0.1, 0.75: 0.1, 1.0: 0.3}, 0.25),
        ({0.25: -0.05, 0.5: -0.08, 0.75: -0.09, 1.0: -0.09}, 0.0),
        ({0.25: 0.1, 0.5: 0.1, 0.75: 0.1, 1.0: 0.1}, 0.0),
    ],
    ids=["far gains", "enough half way", "the end is worse", "too small a gain", "no gain"],
)
def test_no_further_from_the_original_than_the_gain_needs(scores, share):
    trained = network(1.0)
    choice = choose_between(Judge(scores), trained)
    assert choice.share == share
    assert float(choice.network.weight) == pytest.approx(share)
    assert choice.scores == scores
    assert torch.equal(trained.weight, torch.ones(1, 1)), "left as it was"


def test_what_has_not_learned_its_own_images_is_not_taken():
    scores = {0.25: -0.1, 0.5: -0.2, 0.75: -0.4, 1.0: -0.5}
    trained = network(1.0)
    little = {0.25: 0.02, 0.5: 0.05, 0.75: 0.1, 1.0: 0.14}
    assert choose_between(Judge(scores, little), trained).share == 0
    enough = {0.25: 0.05, 0.5: 0.2, 0.75: 0.25, 1.0: 0.1}
    choice = choose_between(Judge(scores, enough), trained)
    assert choice.share == 0.75, "the best of those that have"
    assert (choice.scores, choice.learned) == (scores, enough)


def judge(images: int, **settings: Any) -> Reconstruction:
    return Reconstruction(None, None, [None] * images, **settings)  # type: ignore[arg-type,list-item]


def test_fewer_images_have_to_show_more():
    assert judge(4).margin == judge(1).margin / 2
    assert judge(9, truth=False).margin == judge(1, truth=False).margin


@pytest.mark.parametrize(("known", "margin"), [(3, 0.16), (2, 0.16), (1, 0.1), (0, 0.1)])
def test_images_that_the_model_knows_have_to_show_more(monkeypatch, known, margin):
    pairs = [SimpleNamespace(raw=lambda generator, n=n: (n, None)) for n in range(3)]
    monkeypatch.setattr(candidates, "knows", lambda original, source: source < known)
    judged = judge(1, learned=pairs)
    assert judged.margin == margin
    assert judged.tolerance == judge(1).tolerance, "candidates differ as much"


def test_the_best_gaussian_is_the_one_that_is_nearest_to_the_targets():
    generator = np.random.default_rng(0)
    images = []
    for number in range(2):
        clean = gaussian_filter(generator.standard_normal((1, 48, 48)), (0, 3, 3))
        noisy = clean + 0.1 * generator.standard_normal(clean.shape)
        images.append(PairedImage(f"{number}", {}, noisy, clean, RAW, RAW))
    judged = Reconstruction(None, None, images)  # type: ignore[arg-type]
    sigma, metrics = judged.best_gaussian()
    weights = [image.target.var() for image in images]
    errors = {
        width: np.average(
            [
                evaluate_pair(image.target[0], gaussian_filter(image.source[0], width))["nrmse"]
                for image in images
            ],
            weights=weights,
        )
        for width in (sigma, 0.8 * sigma, 1.25 * sigma)
    }
    assert errors[sigma] == min(errors.values())
    assert metrics["NRMSE"] == pytest.approx(errors[sigma], rel=1e-4)


def measured_by(measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks have these metrics."""
    monkeypatch.setattr(Reconstruction, "measure", measure)
    monkeypatch.setattr(Reconstruction, "weights", [1.0])
    monkeypatch.setattr(
        candidates, "Model", lambda network, config: SimpleNamespace(network=network)
    )


@pytest.mark.parametrize(
    ("nrmse", "ssim", "score"),
    [(0.1, 0.55, 2 * math.log(0.9)), (0.18, 0.75, math.log(0.9)), (0.1, 0.45, 2 * math.log(1.1))],
    ids=["SSIM gained less", "NRMSE gained less", "SSIM lost"],
)
def test_a_gain_has_to_show_in_both_metrics(monkeypatch, nrmse, ssim, score):
    def measure(self, model, images=None):
        is_original = float(model.network.weight) == 0
        return [{"nrmse": 0.2, "ssim": 0.5, "r": 0.9} if is_original else after]

    after = {"nrmse": nrmse, "ssim": ssim, "r": 0.9}
    measured_by(measure, monkeypatch)
    original = SimpleNamespace(network=network(0.0))
    judged = Reconstruction(original, None, [object()])  # type: ignore[arg-type,list-item]
    assert judged(network(1.0)) == pytest.approx(score)


def test_what_forgets_other_structures_is_not_better(monkeypatch):
    held_out, other = object(), object()
    errors: dict[float, dict[object, float]] = {
        0.0: {held_out: 0.2, other: 0.10},
        0.5: {held_out: 0.15, other: 0.102},
        1.0: {held_out: 0.16, other: 0.15},
        2.0: {held_out: 0.05, other: 0.15},
    }

    def measure(self, model, images=None):
        weight = float(model.network.weight)
        found = self.images if images is None else images
        return [
            {"nrmse": errors[weight][image], "ssim": 1 - errors[weight][image], "r": 0.9}
            for image in found
        ]

    measured_by(measure, monkeypatch)
    original = SimpleNamespace(network=network(0.0))
    careful = Reconstruction(original, None, [held_out], others=[other])  # type: ignore[arg-type,list-item]
    careless = Reconstruction(original, None, [held_out])  # type: ignore[arg-type,list-item]
    assert careless(network(1.0)) < 0, "held-out images are better"
    assert careful(network(1.0)) > 0, "others are worse by more than that"
    assert careful(network(0.5)) == careless(network(0.5)) < 0, "hardly forgotten"
    assert careful(network(2.0)) == careless(network(2.0)) < 0, "worth it"
