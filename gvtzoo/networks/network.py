"""The type of all networks, GVTNets and baselines, for annotations."""

from gvtzoo.networks.baselines import Baseline, CAREProjection
from gvtzoo.networks.gvtnet import GVTNet
from gvtzoo.networks.projection import ProjectionGVTNet

Network = GVTNet | ProjectionGVTNet | Baseline | CAREProjection
"""Whatever recipes train and packages carry."""
