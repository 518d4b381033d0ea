"""The checkpoint of an interrupted training, which may come from a stranger with its run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.reader import check_pickle


def step_of(checkpoint: Path) -> int:
    """Where a training stopped; 0 before its first checkpoint.

    Raises
    ------
    GvtzooError
        When the file is damaged, or holds other things than tensors and numbers.
    """
    if not checkpoint.is_file():
        return 0
    try:
        with checkpoint.open("rb") as file:
            check_pickle(file)
        step = torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
        if not isinstance(step, int):
            raise GvtzooError(f"its step is {step!r}")
    except OSError:
        raise
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise _refusal(checkpoint, error) from error
    return step


@contextmanager
def restoring(checkpoint: Path | None, has_begun: Callable[[], bool]) -> Iterator[None]:
    """What goes wrong while a checkpoint is taken up, as an error that names it.

    Parameters
    ----------
    checkpoint : Path, optional
        None where a training starts from the beginning.
    has_begun : callable
        Whether training has begun since: what goes wrong then is passed on.

    Raises
    ------
    GvtzooError
    """
    try:
        yield
    except (GvtzooError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # Lightning raises whatever the damage leads to
        if checkpoint is None or has_begun():
            raise
        raise _refusal(checkpoint, error) from error


def _refusal(checkpoint: Path, error: Exception) -> GvtzooError:
    problem = " ".join(str(error).split())[:150] or type(error).__name__
    return GvtzooError(
        f"{checkpoint} cannot be resumed from: it is damaged, or of another training ({problem}); "
        "start a new run"
    )
