"""Training losses; each is a mean over voxels.

The losses with uncertainty are negative log-likelihoods up to a constant: of a Laplace
distribution with scale σ (paper, Methods, "uncertainty"), or of a normal one with standard
deviation σ. Likelihoods care most about voxels that are certain, dark background above all; with
`weight` 1 every voxel's likelihood is multiplied by its σ (by σ² for the normal one), taken as a
constant, so that the prediction is trained as by MAE (MSE), and σ still learns the size of the
error (Seitzer et al., *On the pitfalls of heteroscedastic uncertainty estimation with
probabilistic neural networks*, ICLR 2022, equation 5 with β = `weight`). The paper has `weight` 0.

`importance`, a number for each patch (batch, 1, …), weights the patches of a batch.
"""

from __future__ import annotations

from torch import Tensor


def mse(prediction: Tensor, target: Tensor, importance: Tensor | None = None) -> Tensor:
    """Mean of (y − ŷ)².

    Parameters
    ----------
    prediction, target : Tensor
        Of the same shape, (batch, channel, …).
    importance : Tensor, optional
        A number for each patch, (batch, 1, …); by default all count the same.
    """
    return _mean((prediction - target).square(), importance)


def mae(prediction: Tensor, target: Tensor, importance: Tensor | None = None) -> Tensor:
    """Mean of \\|y − ŷ\\|.

    Parameters
    ----------
    prediction, target, importance
        As of `mse`.
    """
    return _mean((prediction - target).abs(), importance)


def mae_with_uncertainty(
    prediction: Tensor,
    sigma: Tensor,
    target: Tensor,
    weight: float = 0.0,
    importance: Tensor | None = None,
) -> Tensor:
    """Mean of \\|y − ŷ\\| / σ + log σ (Laplace).

    Parameters
    ----------
    prediction, sigma, target : Tensor
        Of the same shape.
    weight, importance
        As of `mse`.
    """
    likelihood = (target - prediction).abs() / sigma + sigma.log()
    return _mean(likelihood * sigma.detach() ** weight, importance)


def mse_with_uncertainty(
    prediction: Tensor,
    sigma: Tensor,
    target: Tensor,
    weight: float = 0.0,
    importance: Tensor | None = None,
) -> Tensor:
    """Mean of (y − ŷ)² / (2σ²) + log σ (normal).

    Parameters
    ----------
    prediction, sigma, target, weight, importance
        As of `mae_with_uncertainty`.
    """
    likelihood = (target - prediction) ** 2 / (2 * sigma**2) + sigma.log()
    return _mean(likelihood * sigma.detach() ** (2 * weight), importance)


def _mean(values: Tensor, importance: Tensor | None) -> Tensor:
    return (values if importance is None else values * importance).mean()


WITHOUT_SIGMA = {"mse": mse, "mae": mae}
WITH_SIGMA = {
    "mae_with_uncertainty": mae_with_uncertainty,
    "mse_with_uncertainty": mse_with_uncertainty,
}


def sigma_factor(loss: str, prediction: Tensor, sigma: Tensor, target: Tensor) -> float:
    """The factor of all σ for which the likelihood is highest, in closed form.

    Setting the derivative of the likelihood of σ·c by c to zero gives c = mean \\|y − ŷ\\| / σ
    (Laplace), and c² = mean (y − ŷ)² / σ² (normal).

    Parameters
    ----------
    loss : str
        Name of the recipe's loss, which tells the distribution.
    prediction, sigma, target : Tensor
        Of the same shape.
    """
    relative = (target - prediction).abs() / sigma
    if loss == "mae_with_uncertainty":
        return float(relative.mean())
    return float(relative.square().mean().sqrt())
