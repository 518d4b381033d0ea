"""The paper's networks and the baselines, as ``torch.nn.Module``s, and their configurations.

Imports `gvtzoo.core` only; everything from images up may import it. PyTorch, which takes a second
or more, is imported with the first network, and not for configurations.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from gvtzoo.networks.network import Network
    from gvtzoo.networks.operators import (
        GVTO,
        DownSamplingGVTO,
        InPlaneUpSamplingGVTO,
        SizePreservingGVTO,
        UpSamplingGVTO,
    )
    from gvtzoo.networks.pretrained import GVTNet, ProjectionGVTNet
    from gvtzoo.networks.projection import ProjectionNet

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

MODULES = {
    "blocks": ("DownSamplingResidualBlock", "ResidualBlock"),
    "config": (
        *("DENOISING", "LABEL_FREE", "PRESETS", "PROJECTION"),
        *("AttentionConfig", "AttentionConfigs", "NetworkConfig"),
    ),
    "network": ("Network",),
    "operators": (
        *("GVTO", "DownSamplingGVTO", "InPlaneUpSamplingGVTO"),
        *("SizePreservingGVTO", "UpSamplingGVTO"),
    ),
    "pretrained": ("GVTNet", "ProjectionGVTNet"),
    "projection": ("ProjectionNet",),
}


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"gvtzoo.networks.{module}"), name)
    raise AttributeError(f"module 'gvtzoo.networks' has no attribute {name!r}")
