"""The paper's networks and the baselines, as ``torch.nn.Module``s, and their configurations.

Imports `gvtzoo.core` only; everything from images up may import it.
"""

from gvtzoo.networks import gvtnet, projection
from gvtzoo.networks.baselines import Baseline, CAREProjection
from gvtzoo.networks.blocks import DownSamplingResidualBlock, ResidualBlock
from gvtzoo.networks.config import (
    DENOISING,
    LABEL_FREE,
    PRESETS,
    PROJECTION,
    AttentionConfig,
    AttentionConfigs,
    NetworkConfig,
)
from gvtzoo.networks.operators import (
    GVTO,
    DownSamplingGVTO,
    InPlaneUpSamplingGVTO,
    SizePreservingGVTO,
    UpSamplingGVTO,
)
from gvtzoo.networks.pretrained import GVTNet, ProjectionGVTNet
from gvtzoo.networks.projection import ProjectionNet

Network = gvtnet.GVTNet | projection.ProjectionGVTNet | Baseline | CAREProjection
"""Whatever recipes train and packages carry."""

__all__ = [
    "DENOISING",
    "GVTO",
    "LABEL_FREE",
    "PRESETS",
    "PROJECTION",
    "AttentionConfig",
    "AttentionConfigs",
    "DownSamplingGVTO",
    "DownSamplingResidualBlock",
    "GVTNet",
    "InPlaneUpSamplingGVTO",
    "Network",
    "NetworkConfig",
    "ProjectionGVTNet",
    "ProjectionNet",
    "ResidualBlock",
    "SizePreservingGVTO",
    "UpSamplingGVTO",
]
