"""Work in a thread beside the window."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal

from gvtzoo.core.errors import GvtzooError
from gvtzoo.napari.work import StoppedError, explain

log = logging.getLogger(__name__)


class Job(QObject):
    """One function in a thread; the signals arrive in the window's.

    Exactly one of `succeeded`, `failed` and `cancelled` is sent at the end, unless the window has
    gone by then.

    Parameters
    ----------
    function : callable
        Called with this job: it looks at `stop`, and may send `progressed`.
    owner : QObject
        When it goes, the job is stopped.
    """

    progressed = Signal(object)
    succeeded = Signal(object)
    failed = Signal(str)
    cancelled = Signal()

    def __init__(self, function: Callable[[Job], Any], owner: QObject) -> None:
        super().__init__()
        self.stop = threading.Event()
        self._function = function
        self._thread = threading.Thread(target=self._run, name="gvtzoo")
        owner.destroyed.connect(self.stop.set)

    def start(self) -> None:
        """Begin; this returns at once."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask for the end, which comes before the network's next operation."""
        self.stop.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def tell(self, news: Any) -> None:
        """Send `progressed`."""
        with suppress(RuntimeError):  # the window has gone
            self.progressed.emit(news)

    def _run(self) -> None:
        try:
            result = self._function(self)
        except StoppedError:
            with suppress(RuntimeError):
                self.cancelled.emit()
        except Exception as error:  # whatever it is, the user has to see it
            if not isinstance(error, GvtzooError):
                log.exception("gvtzoo's work in napari failed")
            with suppress(RuntimeError):
                self.failed.emit(explain(error))
        else:
            with suppress(RuntimeError):
                self.succeeded.emit(result)
