"""Licences that are shown, and agreed to once, before something is downloaded under them."""

from __future__ import annotations

import logging
import sys

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.hub.installed import models_folder

log = logging.getLogger(__name__)

YES = ("y", "yes")


def is_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def agree(licence: str, *, again: bool = False, assume_yes: bool = False) -> None:
    """Ask whether to go on, under a licence that was shown.

    Asked only on a terminal, and of each licence once: the answer is kept beside the models.
    Programs and scripts go on, as they do with what they download otherwise.

    Parameters
    ----------
    licence : str
        Such as ``"GPL-3.0-only"``.
    again : bool
        Ask even if it was agreed to before: about an amount.
    assume_yes : bool
        Do not ask.

    Raises
    ------
    GvtzooError
        When the answer is no.
    """
    notes = models_folder().parent / "agreed.txt"
    known = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    if assume_yes or not is_terminal() or (licence in known and not again):
        return
    print(f"Download it, under {licence}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in YES:
        raise GvtzooError("nothing was downloaded: answer y to go on")
    if licence not in known:
        with write_atomically(notes) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in [*known, licence]), "utf-8")
