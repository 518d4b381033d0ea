"""Networks that GVTNets are compared with, under the names of their papers.

- `FNet`: Ounkomol et al., Nature Methods (2018): the U-Net for label-free prediction.
- `CAREUNet`, `CAREProjection`: Weigert et al., Nature Methods (2018): the residual U-Net for
  content-aware restoration, and the network that projects a surface in front of it.
- `RSGUNet`: Huang et al., ECCV Workshops (2018): a U-Net with global pooling.
- `CENet`: Gu et al., IEEE TMI (2019): dilated convolutions and multi-kernel pooling.

They are made from the papers' descriptions; no weights of theirs are used. In a recipe, each stands
under its name in `gvtzoo.networks.baseline_config`. A part of `gvtzoo.networks`: whoever may import
that may import this.
"""

from gvtzoo.networks.baselines.base import Baseline
from gvtzoo.networks.baselines.care import CAREProjection, CAREUNet, SurfaceProjection
from gvtzoo.networks.baselines.ce_net import (
    CENet,
    DenseAtrousConvolution,
    ResidualMultiKernelPooling,
)
from gvtzoo.networks.baselines.fnet import FNet
from gvtzoo.networks.baselines.rsgu_net import GlobalPooling, RSGUNet

__all__ = [
    "Baseline",
    "CAREProjection",
    "CAREUNet",
    "CENet",
    "DenseAtrousConvolution",
    "FNet",
    "GlobalPooling",
    "RSGUNet",
    "ResidualMultiKernelPooling",
    "SurfaceProjection",
]
