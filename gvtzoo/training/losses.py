"""Training losses; each is a mean over voxels.

The losses with uncertainty are negative log-likelihoods up to a constant: of a Laplace
distribution with scale σ (paper, Methods, "uncertainty"), or of a normal one with standard
deviation σ.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of (y − ŷ)²."""
    return functional.mse_loss(prediction, target)


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of \\|y − ŷ\\|."""
    return functional.l1_loss(prediction, target)


def mae_with_uncertainty(prediction: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Mean of \\|y − ŷ\\| / σ + log σ (Laplace)."""
    return ((target - prediction).abs() / sigma + sigma.log()).mean()


def mse_with_uncertainty(prediction: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Mean of (y − ŷ)² / (2σ²) + log σ (normal)."""
    return ((target - prediction) ** 2 / (2 * sigma**2) + sigma.log()).mean()


WITHOUT_SIGMA = {"mse": mse, "mae": mae}
WITH_SIGMA = {
    "mae_with_uncertainty": mae_with_uncertainty,
    "mse_with_uncertainty": mse_with_uncertainty,
}
