"""Every bundled model passes ``gvtzoo test``."""

from __future__ import annotations

import pytest

from gvtzoo.hub.registry import bundled_models
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.reader import open_package

QUICK = "gvtnet-denoising-exposures"  # of a 2D network
SLOW = [name for name in bundled_models() if name != QUICK]


def test_there_is_a_bundled_model():
    assert "gvtnet-denoising-nuclei" in bundled_models()


@pytest.mark.parametrize("name", [QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_bundled_model_passes_all_checks(name):
    failed = [result for result in check_package(bundled_models()[name]) if not result.passed]
    assert not failed


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_model_is_described(name):
    config = open_package(bundled_models()[name]).config
    assert config.metadata.id == name
    assert config.metadata.data
    assert config.metrics
    assert config.pixel_size or "pixel size" in config.metadata.intended_use
