"""Memory that runs out is an error of the one image, with what to pass instead."""

from __future__ import annotations

import re
import sys
import textwrap

import numpy as np
import psutil
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.prediction.memory import give_back_freed, is_out_of_memory, parse_memory, within_memory
from gvtzoo.prediction.model import Model
from gvtzoo.prediction.settings import Settings

TOO_MUCH = 2**60  # bytes


def of_torch():
    torch.empty(TOO_MUCH, dtype=torch.uint8)


def of_numpy():
    np.empty(TOO_MUCH, np.uint8)


def of_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def of_onnx():
    raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory")


@pytest.mark.parametrize("exhaust", [of_torch, of_numpy, of_a_gpu, of_onnx])
def test_every_way_in_which_memory_runs_out_is_known(exhaust):
    tiles, blocks = Settings(device="cpu", memory="4GB"), Settings(device="cpu", block=(64, 128))
    advised = pytest.raises(GvtzooError, match=r"memory ran out.*--tiling exact --memory 2.0GB")
    with advised, within_memory(tiles, exact=True):
        exhaust()
    advised = pytest.raises(GvtzooError, match=r"memory ran out.*--block 32,64")
    with advised, within_memory(blocks, exact=False):
        exhaust()


def test_what_is_advised_can_be_passed():
    with pytest.raises(GvtzooError) as caught, within_memory(Settings(device="cpu"), exact=True):
        of_torch()
    assert parse_memory(re.search(r"--memory (\S+)$", str(caught.value))[1]) > 0


def test_other_errors_stay_what_they_are():
    assert not is_out_of_memory(RuntimeError("sizes do not match"))
    unchanged = pytest.raises(RuntimeError, match="do not match")
    with unchanged, within_memory(Settings(), exact=True):
        raise RuntimeError("sizes do not match")


def test_an_image_that_does_not_fit_does_not_end_the_others(tmp_path, monkeypatch):
    """Through the command line: PyTorch's own error, in the middle of a batch."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("a", 16), ("b", 20), ("c", 16)):
        image = np.random.default_rng(0).integers(0, 500, (8, size, size)).astype(np.uint16)
        tifffile.imwrite(folder / f"{name}.tif", image, imagej=True, metadata={"axes": "ZYX"})
    predict_frame = Model.predict_frame

    def hungry(self, engine, frame, *rest, **options):
        if 20 in frame.shape:
            of_torch()
        predict_frame(self, engine, frame, *rest, **options)

    monkeypatch.setattr(Model, "predict_frame", hungry)
    arguments = ["predict", "gvtnet-denoising-nuclei", str(folder), "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert done.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "c.tif"]
    assert "b.tif: the memory ran out" in done.stderr
    assert "1 of 3 images failed" in done.stderr


def test_the_limit_of_the_system_is_such_an_error(tmp_path):
    """A process that may have no more address space, as of a container or a batch system."""
    import subprocess

    script = textwrap.dedent("""
        import resource, torch
        from gvtzoo.prediction.memory import is_out_of_memory
        from gvtzoo.core.errors import GvtzooError
        import psutil
        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, taken + 2**28))
        try:
            torch.zeros(2**30)
        except Exception as error:
            print(is_out_of_memory(error), type(error).__name__)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("True")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_goes_back_to_the_system():
    """Else the tiles of each pass stay beside those of the next."""
    blocks = [bytearray(2**16) for _ in range(1600)]  # of malloc, too small to be mapped
    kept = blocks[::400]
    process = psutil.Process()
    taken = process.memory_info().rss
    del blocks
    give_back_freed()
    assert taken - process.memory_info().rss > 50 * 2**20
    assert len(kept) == 4
