"""The passes of an exact prediction on a Dask cluster: tiles are tasks, wherever there are workers.

Everything that workers share is in a folder that all of them see: the image, the feature maps that
are kept (Zarr), the output (Zarr), and for each pass a file with the layers to compute. So a worker
that dies loses nothing but its tile, which another one takes.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from torch import nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.prediction.exact.execution import Combine, Partial, TileTask
from gvtzoo.prediction.exact.maps import Box
from gvtzoo.prediction.memory import SAFE_SHARE

if TYPE_CHECKING:
    from dask.distributed import Client, Future

# Tiles that a task computes and combines: one as long as each worker has few tasks, more where
# there are many, since the scheduler takes about as long for any task.
MOST_TILES = 8
TASKS = 32  # for each worker, before they get more tiles
AHEAD = 16  # tasks for each worker that are submitted before their turn
RETRIES = 2  # of a task that fails
MISSING = 'Dask is not installed: pip install "gvtzoo[large]"'

_ONE_TILE_AT_A_TIME = threading.Lock()


class DaskExecutor:
    """Tiles as tasks of a Dask cluster (an `Executor`).

    Parameters
    ----------
    client : dask.distributed.Client
    folder : Path
        For files that all workers can read.
    device : str
        Of each worker, as in `Settings`.
    """

    def __init__(self, client: Client, folder: Path, device: str) -> None:
        self.client = client
        self.folder = folder
        self.device = device

    def run(
        self, network: nn.Module, task: TileTask, boxes: Sequence[Box], combine: Combine
    ) -> Iterator[tuple[int, Partial]]:
        """As `Executor.run`; the results of a task's tiles are combined by its worker."""
        import cloudpickle

        if not boxes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        layers = self.folder / f"layers-{uuid4().hex}.pkl"
        with write_atomically(layers) as temporary:
            temporary.write_bytes(cloudpickle.dumps((network, task, self.device)))
        # Of all workers: by default, Dask tells of five.
        workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        size = min(MOST_TILES, max(1, len(boxes) // (TASKS * workers)))
        waiting: deque[tuple[int, Future]] = deque()
        try:
            for start in range(0, len(boxes), size):
                part = boxes[start : start + size]
                future = self.client.submit(
                    run_tiles, str(layers), part, combine, retries=RETRIES, pure=False
                )
                waiting.append((len(part), future))
                if len(waiting) >= AHEAD * workers:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            self.client.cancel([future for _, future in waiting])
            layers.unlink(missing_ok=True)


def run_tiles(layers: str, boxes: Sequence[Box], combine: Combine) -> Partial:
    """Tiles, on a worker; one at a time in each process, since each takes its memory.

    Parameters
    ----------
    layers : str
        The file with the layers and the task.
    boxes : sequence of Box
    combine : callable
        Two partial results to one, in order.

    Returns
    -------
    list of ndarray
        The tiles' results, combined.
    """
    with _ONE_TILE_AT_A_TIME, torch.inference_mode():
        task: TileTask = _load(layers)
        return reduce(combine, map(task, boxes), [])


@contextmanager
def cluster(scheduler: str | None, workers: int | None, memory: int | None) -> Iterator[Client]:
    """A client of a running cluster, or of one on this machine that ends with the block.

    Parameters
    ----------
    scheduler : str, optional
        Address, such as ``tcp://10.0.0.1:8786``.
    workers : int, optional
        How many processes to start here, if there is no scheduler.
    memory : int, optional
        Bytes that each of them may take; by default its share of this machine's.

    Raises
    ------
    GvtzooError
        When Dask is not installed, or the scheduler cannot be reached.
    """
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise GvtzooError(MISSING) from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise GvtzooError(
                f"there is no Dask scheduler at {scheduler}: start one with 'dask scheduler'"
            ) from error
        with client:
            yield client
        return
    import psutil

    # Workers coming and going are no news; what goes wrong is raised.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    count = workers or 1
    threads = max(1, (psutil.cpu_count() or 1) // count)
    local = LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        # The process, PyTorch and Zarr take something beside the tiles.
        memory_limit=0 if memory is None else memory + 2**30,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
        env={"OMP_NUM_THREADS": str(threads)},
    )
    with local, Client(local, set_as_default=False) as client:
        yield client


def memory_of_workers(client: Client) -> int:
    """Bytes that a tile may take on the worker with the least memory.

    Raises
    ------
    GvtzooError
        When there are no workers.
    """
    client.wait_for_workers(1, timeout=60)
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    limits = [worker["memory_limit"] for worker in workers.values()]
    if not limits:
        raise GvtzooError("the Dask scheduler has no workers: start some with 'dask worker'")
    import psutil

    return int(SAFE_SHARE * min(limit or psutil.virtual_memory().available for limit in limits))


@lru_cache(maxsize=1)
def _load(layers: str) -> TileTask:
    import cloudpickle

    # Written by the client a moment ago, into the folder of its own output.
    network, task, device = cloudpickle.loads(Path(layers).read_bytes())
    network.to(_device_of_worker(device))
    return task


def _device_of_worker(name: str) -> torch.device:
    """The worker's GPU: each of several workers on a machine takes another one."""
    from distributed import get_worker

    from gvtzoo.prediction.settings import choose_device

    device = torch.device(choose_device(name))
    if device.type != "cuda" or device.index is not None:
        return device
    own = str(get_worker().name)
    number = int(own) if own.isdigit() else 0
    return torch.device("cuda", number % torch.cuda.device_count())


def _result(waiting: tuple[int, Future]) -> tuple[int, Partial]:
    count, future = waiting
    return count, future.result()
