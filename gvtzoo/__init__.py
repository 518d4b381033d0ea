"""gvtzoo: a model zoo for augmented microscopy.

>>> import gvtzoo
>>> model = gvtzoo.load("gvtnet-denoising-nuclei")     # doctest: +SKIP
>>> clean = model.predict(stack, axes="ZYX")           # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.version import __version__

if TYPE_CHECKING:
    from gvtzoo import networks
    from gvtzoo.hub.load import load
    from gvtzoo.prediction.model import Model

__all__ = ["GvtzooError", "Model", "__version__", "load", "networks"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only when it is needed.
    if name == "load":
        from gvtzoo.hub.load import load

        return load
    if name == "Model":
        from gvtzoo.prediction.model import Model

        return Model
    if name == "networks":
        import importlib

        return importlib.import_module("gvtzoo.networks")
    raise AttributeError(f"module 'gvtzoo' has no attribute {name!r}")
