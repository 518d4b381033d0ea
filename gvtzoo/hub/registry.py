"""From a model's name to its package."""

from __future__ import annotations

import difflib
from pathlib import Path

from gvtzoo.errors import GvtzooError
from gvtzoo.resources import zoo_folder

PACKAGE_NAME = "model.zip"


def bundled_models() -> dict[str, Path]:
    """Packages of the models that come with gvtzoo, by name."""
    return {path.parent.name: path for path in sorted(zoo_folder().glob(f"*/{PACKAGE_NAME}"))}


def find_model(name: str | Path) -> Path:
    """The package of a model: an existing path, or a bundled model's name.

    Raises
    ------
    GvtzooError
        When there is none; a name that is nearly right is suggested.
    """
    path = Path(name)
    if path.exists():
        return path
    bundled = bundled_models()
    if str(name) in bundled:
        return bundled[str(name)]
    near = difflib.get_close_matches(str(name), bundled, n=1)
    hint = f"did you mean {near[0]}?" if near else "`gvtzoo list` shows the models that there are"
    raise GvtzooError(f"there is no model {str(name)!r}: {hint}")
