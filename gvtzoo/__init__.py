"""gvtzoo: a model zoo for augmented microscopy.

>>> import gvtzoo
>>> model = gvtzoo.load("gvtnet-denoising-nuclei")     # doctest: +SKIP
>>> clean = model.predict(stack, axes="ZYX")           # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError

if TYPE_CHECKING:
    from gvtzoo import networks
    from gvtzoo.prediction.model import Model
    from gvtzoo.hub.load import load

__version__ = "0.1.0"
__all__ = ["GvtzooError", "Model", "__version__", "load", "networks"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import: only when it is needed.
    if name in ("load", "Model"):
        from gvtzoo.prediction import model as predictor

        return getattr(predictor, name)
    if name == "networks":
        import importlib

        return importlib.import_module("gvtzoo.networks")
    raise AttributeError(f"module 'gvtzoo' has no attribute {name!r}")
