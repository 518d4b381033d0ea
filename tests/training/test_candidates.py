"""Which weights are taken on the way from the original's to the trained ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from gvtzoo.training.candidates import choose_between, margin


class Judge:
    """Scores networks of one weight, 0 at the original's, by a table."""

    def __init__(self, scores: dict[float, float]) -> None:
        self.scores = scores
        self.original = SimpleNamespace(network=network(0.0))

    def __call__(self, candidate: Any) -> float:
        return self.scores[float(candidate.weight)]


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
    choice = choose_between(Judge(scores), trained, 0.1)
    assert choice.share == share
    assert float(choice.network.weight) == pytest.approx(share)
    assert choice.scores == scores
    assert torch.equal(trained.weight, torch.ones(1, 1)), "left as it was"


def test_fewer_pairs_have_to_show_more():
    assert margin(4) == margin(1) / 2
