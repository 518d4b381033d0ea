"""Feature maps in files: what is written is read, by anyone, and is gone when it should be."""

from __future__ import annotations

import errno
import pickle
from io import FileIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.prediction.exact.execution import OnDisk, Temporary
from gvtzoo.prediction.exact.maps import tiles
from gvtzoo.prediction.exact.stored import PAGE, Grid, UnnamedFile, stored_bytes

LIKE = torch.nn.Parameter(torch.zeros(1))


def filled(workspace, array, tile):
    """A map (channel, (z,) y, x), written tile by tile."""
    boxes = list(tiles(tuple(slice(0, size) for size in array.shape[1:]), tile))
    kept = workspace.new_map(0, len(array), boxes, LIKE)
    for box in boxes:
        kept.write(box, torch.from_numpy(array[(slice(None), *box)])[None])
    return kept


@st.composite
def maps(draw):
    """Sizes of a map and of its tiles, and a box of it."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=2, max_size=3))
    tile = [draw(st.integers(1, size)) for size in sizes]
    starts = [draw(st.integers(0, size - 1)) for size in sizes]
    box = tuple(
        slice(start, draw(st.integers(start + 1, size)))
        for start, size in zip(starts, sizes, strict=True)
    )
    return draw(st.integers(1, 3)), tuple(sizes), tuple(tile), box


@given(case=maps())
@settings(max_examples=100, deadline=None)
def test_any_box_of_what_was_written_is_read(tmp_path_factory, case):
    channels, sizes, tile, box = case
    array = np.random.default_rng(0).normal(size=(channels, *sizes)).astype(np.float32)
    kept = filled(Temporary(tmp_path_factory.getbasetemp()), array, tile)
    np.testing.assert_array_equal(kept.read(box)[0], array[(slice(None), *box)])
    assert (kept.size, kept.channels) == (sizes, channels)


def test_a_map_of_a_folder_is_taken_up_again_and_read_by_others(tmp_path):
    array = np.random.default_rng(0).normal(size=(2, 4, 6, 8)).astype(np.float32)
    kept = filled(OnDisk(tmp_path), array, (4, 2, 8))
    whole = tuple(slice(0, size) for size in array.shape[1:])
    boxes = list(tiles(whole, (4, 2, 8)))
    for other in (OnDisk(tmp_path).new_map(0, 2, boxes, LIKE), pickle.loads(pickle.dumps(kept))):
        np.testing.assert_array_equal(other.read(whole)[0], array)


def test_tiles_share_no_page_of_the_file():
    """On a network's file system, a page that two computers write has what one of them wrote."""
    grid = Grid.of(list(tiles((slice(0, 5), slice(0, 7)), (2, 3))))
    assert stored_bytes(3, grid) == 9 * PAGE


def test_a_temporary_map_has_no_name_and_its_disk_is_free_when_it_is_gone(tmp_path):
    kept = filled(Temporary(tmp_path), np.ones((1, 4, 4), np.float32), (2, 2))
    assert not list(tmp_path.iterdir())
    file = kept.file._file
    del kept
    assert file.closed


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    file = UnnamedFile(tmp_path, PAGE)
    with pytest.raises(GvtzooError, match="No space left on device; set TMPDIR"), file.opened():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_written_in_parts_is_written_in_full(tmp_path, monkeypatch):
    """As a disk that is nearly full, or a signal, has it."""
    array = np.arange(2 * 40, dtype=np.float32).reshape(1, 8, 10)
    written = []

    class Slow(FileIO):
        def write(self, values):
            written.append(len(values))
            return super().write(values[:7])

    path = tmp_path / "map-0.raw"
    grid = Grid.of(list(tiles((slice(0, 8), slice(0, 10)), (8, 10))))
    path.write_bytes(b"\0" * stored_bytes(1, grid))
    monkeypatch.setattr("pathlib.Path.open", lambda path, mode, buffering=-1: Slow(path, "r+"))
    kept = filled(OnDisk(tmp_path), array, (8, 10))
    assert len(written) > 40
    np.testing.assert_array_equal(kept.read((slice(0, 8), slice(0, 10)))[0], array)
