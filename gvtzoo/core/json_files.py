"""JSON files that may come from strangers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError

LARGEST = 2**26  # bytes; Python takes ten times as much memory for them


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    GvtzooError
        When it is not valid, nested too deeply, or larger than any that gvtzoo writes.
    OSError
        When it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise GvtzooError(f"{path} is too large ({size} bytes, more than {LARGEST})")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise GvtzooError(f"{path} is not valid JSON: {error}") from error
