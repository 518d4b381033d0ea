"""What of a prediction is done, on disk, so that a killed one can go on."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import numpy as np

from gvtzoo.core.files import write_atomically

INTERVAL = 5.0  # seconds between two entries


class Journal:
    """Passes that are finished, and how far the current one is.

    Parameters
    ----------
    folder : Path
        Its own; there, each file is complete at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._saved_at = time.monotonic()

    def state(self, number: int) -> tuple[int, list[np.ndarray]]:
        """How many tiles of a pass are done, and their combined results."""
        try:
            with np.load(self._path(number), allow_pickle=False) as file:
                arrays = [file[f"array_{n}"] for n in range(len(file.files) - 1)]
                return int(file["done"]), arrays
        except (FileNotFoundError, zipfile.BadZipFile, KeyError, ValueError):
            return 0, []

    def save(self, number: int, done: int, results: list[np.ndarray]) -> None:
        """Note how far a pass is, unless that was done a moment ago.

        Parameters
        ----------
        number, done, results
            As of `finish`.
        """
        if time.monotonic() - self._saved_at >= INTERVAL:
            self.finish(number, done, results)

    def finish(self, number: int, done: int, results: list[np.ndarray]) -> None:
        """Note that a pass is as far as this.

        Parameters
        ----------
        number : int
            Of the pass.
        done : int
            How many of its tiles are done.
        results : list of ndarray
            These tiles' results, combined.
        """
        arrays = {f"array_{n}": array for n, array in enumerate(results)}
        with write_atomically(self._path(number)) as temporary:
            np.savez(temporary, done=np.array(done), **arrays)  # type: ignore[arg-type]
        self._saved_at = time.monotonic()

    def _path(self, number: int) -> Path:
        return self.folder / f"pass-{number}.npz"
