"""Calibrated intervals hold what they say, on images that they were not fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import FittedNormalization, NormalizationConfig
from gvtzoo.metrics.calibration import calibrate
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.metadata import default_metadata
from gvtzoo.training.calibration import calibrate_sigma
from gvtzoo.training.data.images import PairedImage

RAW = FittedNormalization(0.0, 1.0)
NETWORK = NetworkConfig(dimensions=2, depth=1, encoder_blocks=(1,), downsampling=(), upsampling=(),
                        decoder_blocks=(), features=2, uncertainty=True)  # fmt: skip


class TooSure(nn.Module):
    """Predicts its input, with a σ of a third of the first column's values."""

    multiple = (1, 1)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward_with_sigma(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.weight * x, 0.02 + x[..., :1].abs().expand_as(x) / 3


def model() -> Model:
    config = PackageConfig(
        task="denoising",
        network=NETWORK,
        normalization=NormalizationConfig.model_validate(
            {"source": {"kind": "none"}, "target": "as_source"}
        ),
        metadata=default_metadata("sure", "denoising"),
    )
    network: Any = TooSure()
    return Model(network, config)


def image(noise: float, seed: int, names: str = "") -> PairedImage:
    """Noise whose width is written into the first column, and normal errors of that width."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(10, 0.01, (1, 64, 64)).astype(np.float32)
    source = truth + generator.normal(0, noise, truth.shape).astype(np.float32)
    truth[..., 0] = source[..., 0] = 3 * noise
    return PairedImage(names, {}, source, truth, RAW, RAW)


def coverage(model: Model, image: PairedImage, level: float) -> float:
    prediction, sigma = model.predict(image.source[0], axes="YX", uncertainty=True)
    found = calibrate(
        image.target[0],
        prediction.to_numpy(),
        sigma.to_numpy(),
        levels=[level],
        multiple=model.interval,
    )
    return float(found.observed[0])


@pytest.mark.parametrize("noise", [(0.5, 0.5), (0.03, 2.0)])
def test_intervals_hold_what_they_say(noise):
    calibrated = model()
    fitted_to = [image(width, seed) for seed, width in enumerate(noise * 3)]
    found = calibrate_sigma(calibrated, fitted_to)
    calibrated.config = calibrated.config.model_copy(update={"calibration": found})
    for seed, width in enumerate(noise):
        other = image(width, 100 + seed)
        assert coverage(calibrated, other, 0.5) == pytest.approx(0.5, abs=0.03)
        assert coverage(calibrated, other, 0.9) == pytest.approx(0.9, abs=0.02)


def test_normal_errors_are_not_taken_for_laplacian():
    found = calibrate_sigma(model(), [image(0.5, seed) for seed in range(4)])
    assert found.multiple(0.5) == pytest.approx(np.log(2), rel=0.02)
    assert found.multiple(0.9) / found.multiple(0.5) == pytest.approx(1.645 / 0.6745, rel=0.03)


def test_there_have_to_be_images():
    with pytest.raises(GvtzooError, match="at least one"):
        calibrate_sigma(model(), [])
