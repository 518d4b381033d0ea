"""Adversarial training: a discriminator learns to tell predictions from targets, patch by patch.

It is trained together with the network, by one optimizer: on its way back from the discriminator
to the network the gradient is reversed (Ganin & Lempitsky, *Unsupervised domain adaptation by
backpropagation*, ICML 2015), so that what makes the discriminator better makes the network fool it.
The loss is the hinge loss (Lim & Ye, *Geometric GAN*, 2017, equation 14), of a discriminator that
judges overlapping patches (Isola et al., *Image-to-image translation with conditional adversarial
networks*, CVPR 2017, section 3.2.2). Sharper textures are gained at the price of details that are
invented: compare predictions with real images.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 3
SLOPE = 0.2  # of the leaky ReLU


class PatchDiscriminator(nn.Module):
    """How real every patch of an image looks: (batch, channel, …) → (batch, 1, …), > 0 is real.

    Parameters
    ----------
    dimensions : {2, 3}
    channels : int
    features : int
        At the first level; they double with each of three.
    """

    def __init__(self, dimensions: int, channels: int, features: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        for level in range(LEVELS):
            width = features * 2**level
            layers += [convolution(channels, width, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            channels = width
        self.layers = nn.Sequential(*layers, convolution(channels, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channel, …) → (batch, 1, …): > 0 where a patch looks real."""
        return self.layers(image)


class _ReverseGradient(torch.autograd.Function):
    """The same forwards; backwards the gradient times −weight."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: float) -> Tensor:
        context.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return -context.weight * gradients[0], None


def adversarial_loss(
    discriminator: nn.Module, prediction: Tensor, target: Tensor, weight: float
) -> Tensor:
    """The discriminator's hinge loss, a scalar, which the network is trained to raise.

    Parameters
    ----------
    discriminator : PatchDiscriminator
    prediction, target : Tensor
        (batch, channel, …).
    weight : float
        Of what the network learns from it, against its own loss.
    """
    real = functional.relu(1 - discriminator(target)).mean()
    judged = discriminator(_ReverseGradient.apply(prediction, weight))
    return real + functional.relu(1 + judged).mean()
