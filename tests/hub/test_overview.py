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
