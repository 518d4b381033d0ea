"""gvtzoo: a model zoo for augmented microscopy.

>>> import gvtzoo
>>> model = gvtzoo.load("gvtnet-denoising-nuclei")     # doctest: +SKIP
>>> clean = model.predict("stack.tif")                 # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.version import __version__

if TYPE_CHECKING:
    from gvtzoo import networks
    from gvtzoo.api.evaluate import evaluate
    from gvtzoo.api.package import package
    from gvtzoo.api.predict import predict
    from gvtzoo.hub.download import download
    from gvtzoo.hub.info import info
    from gvtzoo.hub.listing import list_models
    from gvtzoo.hub.load import load
    from gvtzoo.hub.publish import publish
    from gvtzoo.images.files import read_image, write_image
    from gvtzoo.networks.pretrained import GVTNet
    from gvtzoo.prediction.model import Model
    from gvtzoo.training.finetune import finetune
    from gvtzoo.training.train import train

__all__ = [
    "GVTNet",
    "GvtzooError",
    "Model",
    "__version__",
    "download",
    "evaluate",
    "finetune",
    "info",
    "list_models",
    "load",
    "networks",
    "package",
    "predict",
    "publish",
    "read_image",
    "train",
    "write_image",
]

# Where each name is from: imported when it is asked for, since torch takes seconds to import.
_HOME = {
    "GVTNet": "gvtzoo.networks.pretrained",
    "Model": "gvtzoo.prediction.model",
    "download": "gvtzoo.hub.download",
    "evaluate": "gvtzoo.api.evaluate",
    "finetune": "gvtzoo.training.finetune",
    "info": "gvtzoo.hub.info",
    "list_models": "gvtzoo.hub.listing",
    "load": "gvtzoo.hub.load",
    "package": "gvtzoo.api.package",
    "predict": "gvtzoo.api.predict",
    "publish": "gvtzoo.hub.publish",
    "read_image": "gvtzoo.images.files",
    "train": "gvtzoo.training.train",
    "write_image": "gvtzoo.images.files",
}


def __getattr__(name: str) -> Any:
    if name == "networks":
        return import_module("gvtzoo.networks")
    if name not in _HOME:
        raise AttributeError(f"module 'gvtzoo' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
