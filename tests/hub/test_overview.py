"""What an overview of a model says of its score."""

from __future__ import annotations

import pytest

from gvtzoo.hub.overview import best_score
from gvtzoo.packages.config import MetricRow


def rows(**scores):
    return [
        MetricRow(data="nuclei", method=method.replace("_", " "), SSIM=score)
        for method, score in scores.items()
    ]


@pytest.mark.parametrize(
    ("others", "rival"),
    [
        ({"Gaussian": 0.4, "non-local_means": 0.5}, "non-local means"),
        ({"Gaussian": 0.4, "U-Net": 0.7}, "Gaussian"),
        ({"Gaussian": 0.4, "gvtnet-denoising-nuclei": 0.7, "input": 0.5}, "Gaussian"),
        ({"gvtnet-denoising-nuclei": 0.7, "input": 0.1}, ""),
    ],
    ids=["filters", "networks", "models of the zoo and the input", "no filter"],
)
def test_the_rival_is_the_best_simple_filter(others, rival):
    assert best_score(rows(GVTNet=0.6, **others)).rival == rival


def test_conditions_in_which_no_filter_is_as_good_are_counted():
    scores = {"5 photons": (0.5, 0.4), "20 photons": (0.6, 0.6), "200 photons": (0.8, 0.9)}
    found = best_score(
        [
            MetricRow(data="nuclei", condition=condition, method=method, SSIM=score)
            for condition, pair in scores.items()
            for method, score in zip(("GVTNet", "Gaussian"), pair, strict=True)
        ]
    )
    assert (found.ahead, found.conditions) == (1, 3)
    assert found.text == (
        "SSIM 0.800 against 0.900 by the best simple filter, Gaussian; the filter is not worse; "
        "on nuclei, 200 photons; ahead in 1 of 3 conditions"
    )
    assert "conditions" not in best_score(rows(GVTNet=0.6, Gaussian=0.4)).text
