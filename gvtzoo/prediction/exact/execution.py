"""Carrying out passes over tiles: where, what is kept between them, and what is already done.

A pass applies a task to every tile. Tasks either write what they compute, and return nothing, or
return partial results, which are combined in the order of the tiles.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.core.progress import Progress
from gvtzoo.prediction.exact.journal import Journal
from gvtzoo.prediction.exact.maps import Box, CachedMap, Compile, FeatureMap
from gvtzoo.prediction.exact.stored import (
    Grid,
    NamedFile,
    StoredMap,
    UnnamedFile,
    stored_bytes,
)
from gvtzoo.prediction.memory import LIVE_FEATURE_MAPS

DISK_SHARE = 0.5  # of what is free may go to feature maps

Partial = list[np.ndarray]
TileTask = Callable[[Box], Partial]
Combine = Callable[[Partial, Partial], Partial]


def add_up(total: Partial, part: Partial) -> Partial:
    """The sum, array by array."""
    return [a + b for a, b in zip(total, part, strict=True)] if total else part


def collect(total: Partial, part: Partial) -> Partial:
    """All arrays, in order."""
    return [*total, *part]


class Map(FeatureMap, Protocol):
    """A feature map that is filled tile by tile."""

    def write(self, box: Box, part: Tensor) -> None:
        """Keep what is inside a box, (1, channel, (z,) y, x)."""


class LayerByLayer:
    """By PyTorch, as a map computes itself."""

    live_maps: float = LIVE_FEATURE_MAPS

    def __call__(self, wanted: FeatureMap, boxes: Sequence[Box]) -> FeatureMap:
        """As `Compile`."""
        return wanted

    def release(self) -> None:
        """As `Compile.release`: nothing is held."""


class Executor(Protocol):
    """Where tasks are carried out."""

    def run(
        self, network: nn.Module, task: TileTask, boxes: Sequence[Box], combine: Combine
    ) -> Iterator[tuple[int, Partial]]:
        """The results of tiles, in order: of how many, and these combined.

        Parameters
        ----------
        network : Module
            All layers that the task computes.
        task : callable
        boxes : sequence of Box
        combine : callable
        """


class Workspace(Protocol):
    """Where feature maps are kept."""

    def new_map(self, number: int, channels: int, boxes: Sequence[Box], like: nn.Parameter) -> Map:
        """A map to be filled by the pass of this number.

        Parameters
        ----------
        number, channels : int
        boxes : sequence of Box
            The tiles that fill it.
        like : Parameter
            On the device and of the type that the map is read with.
        """


class LocalExecutor:
    """In this process.

    Parameters
    ----------
    at_once : int
        How many tiles, each in a thread. While a GPU computes one, another is read or written; a
        CPU, which does all three, has nothing to gain.
    """

    def __init__(self, at_once: int = 1) -> None:
        self.at_once = at_once

    def run(
        self, network: nn.Module, task: TileTask, boxes: Sequence[Box], combine: Combine
    ) -> Iterator[tuple[int, Partial]]:
        """As `Executor.run`."""
        if self.at_once == 1:
            for box in boxes:
                yield 1, _without_gradients(task, box)
            return
        waiting: deque[Future[Partial]] = deque()
        with ThreadPoolExecutor(self.at_once) as threads:
            for box in boxes:
                waiting.append(threads.submit(_without_gradients, task, box))
                if len(waiting) >= self.at_once:
                    yield 1, waiting.popleft().result()
            while waiting:
                yield 1, waiting.popleft().result()


def _without_gradients(task: TileTask, box: Box) -> Partial:
    with torch.inference_mode():  # which holds for one thread only
        return task(box)


class InMemory:
    """Maps on the network's device."""

    def new_map(self, number: int, channels: int, boxes: Sequence[Box], like: nn.Parameter) -> Map:
        """As `Workspace.new_map`."""
        size = Grid.of(boxes).size
        return CachedMap(like.new_empty(1, channels, *size, requires_grad=False))


class OnDisk:
    """Maps in files of a folder, which several processes can fill.

    Those that are there are taken up again.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new_map(self, number: int, channels: int, boxes: Sequence[Box], like: nn.Parameter) -> Map:
        """As `Workspace.new_map`."""
        grid = Grid.of(boxes)
        file = NamedFile(self.folder / f"map-{number}.raw", stored_bytes(channels, grid))
        return StoredMap(file, channels, grid, like)


class Temporary:
    """Maps in files that nobody else sees; each is gone with its map.

    Parameters
    ----------
    folder : str or Path
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder

    def new_map(self, number: int, channels: int, boxes: Sequence[Box], like: nn.Parameter) -> Map:
        """As `Workspace.new_map`."""
        grid = Grid.of(boxes)
        file = UnnamedFile(self.folder, stored_bytes(channels, grid))
        return StoredMap(file, channels, grid, like)


def free_disk(folder: str | Path) -> int:
    """Bytes of a disk that feature maps may take: half of what is free."""
    return int(DISK_SHARE * shutil.disk_usage(folder).free)


def scratch_folder() -> str:
    """Where temporary files go that may be large: ``TMPDIR``, or the system's place for them."""
    # /tmp is memory on many systems.
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


class Runner:
    """Carries out one pass after the other.

    Parameters
    ----------
    executor : Executor, optional
        By default `LocalExecutor`.
    workspace : Workspace, optional
        By default `InMemory`, or `Temporary` where the plan says so.
    journal : Journal, optional
        What is already done is not done again. Needs a workspace that survives.
    progress : callable, optional
        ``progress(done, all)``, in percent of each pass over the tiles.
    compiled : Compile, optional
        By default `LayerByLayer`.

    Attributes
    ----------
    matrices : dict of GVTO to ndarray
        (V Kᵀ) / N of the operators without softmax, (heads, value channels, key channels) per
        head, as they become known.
    """

    def __init__(
        self,
        executor: Executor | None = None,
        workspace: Workspace | None = None,
        journal: Journal | None = None,
        progress: Progress | None = None,
        compiled: Compile | None = None,
    ) -> None:
        self.compiled = compiled or LayerByLayer()
        self.executor = executor or LocalExecutor()
        self.workspace = workspace
        self.journal = journal
        self.progress = progress
        self.matrices: dict[nn.Module, np.ndarray] = {}
        self._number = self._expected = 0

    def start(self, passes: int) -> None:
        """Begin with the first of so many passes."""
        self._number, self._expected = 0, passes

    def free_disk(self, network: nn.Module) -> int:
        """Bytes of disk that maps may take which have no room in memory.

        None where the runner has a workspace of its own, and on a GPU, which computes a map sooner
        than a disk gives it back.
        """
        on_cpu = next(network.parameters()).device.type == "cpu"
        return free_disk(scratch_folder()) if self.workspace is None and on_cpu else 0

    def new_map(
        self, channels: int, boxes: Sequence[Box], like: nn.Parameter, on_disk: bool
    ) -> Map:
        """A map to be filled by the next pass.

        Parameters
        ----------
        channels : int
        boxes : sequence of Box
            The tiles that fill it.
        like : Parameter
            On the device and of the type that the map is read with.
        on_disk : bool
            Where it is kept, if the runner has no workspace of its own.
        """
        workspace = self.workspace or (Temporary(scratch_folder()) if on_disk else InMemory())
        return workspace.new_map(self._number, channels, boxes, like)

    def run(
        self, network: nn.Module, task: TileTask, boxes: Sequence[Box], combine: Combine = collect
    ) -> Partial:
        """One pass: all tiles' results, combined.

        Parameters
        ----------
        network : Module
            All layers that the task computes.
        task : callable
            From a box to a partial result, a list of arrays.
        boxes : sequence of Box
            One for each tile.
        combine : callable
            Two partial results to one, in order.

        Returns
        -------
        list of ndarray
        """
        number, self._number = self._number, self._number + 1
        done, total = self.journal.state(number) if self.journal else (0, [])
        self._report(number, min(done, len(boxes)), len(boxes))
        for count, part in self.executor.run(network, task, boxes[done:], combine):
            total, done = combine(total, part), done + count
            self._report(number, done, len(boxes))
            if self.journal:
                self.journal.save(number, done, total)
        if self.journal:
            self.journal.finish(number, len(boxes), total)
        return total

    def _report(self, number: int, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress(100 * number + 100 * done // of, 100 * self._expected)
