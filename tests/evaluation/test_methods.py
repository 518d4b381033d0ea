"""Simple methods, each at its best setting, beside a model."""

from __future__ import annotations

import numpy as np
import pytest
import small_package

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.methods import compare_methods, simple_methods
from gvtzoo.images.normalization import FittedNormalization
from gvtzoo.prediction.model import Model
from gvtzoo.training.data.images import PairedImage

RAW = FittedNormalization(0.0, 1.0)


def image(name: str, seed: int) -> PairedImage:
    """A wave, and the same with noise, (channel, y, x)."""
    y, x = np.mgrid[:32, :32]
    clean = (100 + 50 * np.sin(y / 5) * np.cos(x / 4))[None].astype(np.float32)
    noisy = clean + np.random.default_rng(seed).normal(0, 20, clean.shape).astype(np.float32)
    return PairedImage(name, {}, noisy, clean, RAW, RAW)


def test_a_row_for_each_condition_and_method(monkeypatch):
    methods = {"Gaussian": {f"sigma {s}": simple_methods("denoising")["Gaussian"][f"sigma {s}"]
                            for s in ("0.4", "2")}}  # fmt: skip
    monkeypatch.setattr("gvtzoo.evaluation.methods.simple_methods", lambda task: methods)
    model = Model(small_package.NETWORK.build(), small_package.CONFIG)
    images = [image("a, dim", 0), image("b, dim", 1), image("a, bright", 2)]
    rows = compare_methods(images, "denoising", {"ours": model}, data="waves", seed=0)
    assert [(row["condition"], row["method"]) for row in rows] == [
        ("dim", "Gaussian (sigma 2)"),
        ("dim", "ours"),
        ("bright", "Gaussian (sigma 2)"),
        ("bright", "ours"),
    ]
    assert {"r", "NRMSE", "PSNR", "SSIM"} <= set(rows[0])
    assert 0.9 < rows[0]["r"] < 1


def test_without_images_there_is_nothing_to_compare():
    with pytest.raises(GvtzooError, match="no test split"):
        compare_methods([], "denoising", {}, data="waves", seed=0)
