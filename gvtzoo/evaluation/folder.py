"""The folder of an evaluation: what is in it, and when it may be written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.core.json_files import read_json
from gvtzoo.evaluation.results import Evaluation

SETTINGS = "settings.json"
RESULT = "evaluation.json"
METRICS, SUMMARY = "metrics.csv", "summary.csv"
PREDICTIONS, IMAGES = "predictions", "images"


def claim(folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make the folder an evaluation's, or make sure that it is this evaluation's already.

    An interrupted or repeated evaluation goes on in its folder, and one that failed makes place for
    a corrected one; predictions in it are kept anyway. With `overwrite`, the result of another
    evaluation goes at once, so that none is left beside settings that are not its own.

    Parameters
    ----------
    folder : Path
    settings : mapping
        What the evaluation is of: models, data and choices, in plain types.
    overwrite : bool
        Whether the result of another evaluation goes.

    Raises
    ------
    GvtzooError
        When the folder holds other things, or the result of another evaluation and `overwrite` is
        not given.
    """
    path = folder / SETTINGS
    if folder.exists() and not folder.is_dir():
        raise GvtzooError(f"{folder} is a file: name a folder for the evaluation")
    if folder.is_dir() and any(folder.iterdir()):
        if not path.is_file():
            raise GvtzooError(f"{folder} holds other files: choose a new folder")
        is_other = _read(path) != json.loads(json.dumps(settings))
        if is_other and (folder / RESULT).is_file() and not overwrite:
            raise GvtzooError(
                f"{folder} holds an evaluation of other models, data or settings: choose another "
                "folder, or --overwrite (predictions are kept)"
            )
        if is_other:
            (folder / RESULT).unlink(missing_ok=True)
    write_text(path, json.dumps(settings, indent=1) + "\n")


def read_result(folder: str | Path) -> Evaluation:
    """The evaluation that a folder holds.

    Raises
    ------
    GvtzooError
        When there is none.
    """
    path = Path(folder) / RESULT
    try:
        return Evaluation.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GvtzooError(f"{folder} holds no evaluation that can be read: {path}") from error


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except GvtzooError:
        return None


def write_text(path: Path, text: str) -> None:
    """A whole text file, or none."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
