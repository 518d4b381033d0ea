"""The paper's networks, as ``torch.nn.Module``s, and their configuration."""

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
from gvtzoo.networks.gvtnet import GVTNet
from gvtzoo.networks.operators import (
    GVTO,
    DownSamplingGVTO,
    InPlaneUpSamplingGVTO,
    SizePreservingGVTO,
    UpSamplingGVTO,
)
from gvtzoo.networks.projection import ProjectionGVTNet, ProjectionNet

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
    "NetworkConfig",
    "ProjectionGVTNet",
    "ProjectionNet",
    "ResidualBlock",
    "SizePreservingGVTO",
    "UpSamplingGVTO",
]
