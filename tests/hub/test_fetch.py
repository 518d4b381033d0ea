"""The published models by one command, from a mirror on loopback with what goes wrong on the way.

The checkpoints have the published variables, layout and sizes, with random weights.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import invoke
from mirror import serving, write_zoo
from published import write_published

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub.fetch import ADDRESS_VARIABLE, DATA, INDEX
from gvtzoo.hub.index import read_index
from gvtzoo.hub.listing import list_models
from gvtzoo.hub.registry import bundled_models
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.reader import open_package

DNA, PLANARIA = "gvtnet-label-free-dna", "gvtnet-denoising-planaria"
FLYWING = "gvtnet-projection-flywing"
SIZES = {DNA: 74_078_492, PLANARIA: 16_168_336, FLYWING: 6_466_492}
INDEX_SIZES = {DNA: 9_285, PLANARIA: 5_631, FLYWING: 9_046}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The authors' repository, with one model of each network, and a zoo that knows it."""
    folder = tmp_path_factory.mktemp("repository")
    folders = write_published(folder / "save_dir", SIZES)
    (folder / "zoo").mkdir()
    write_zoo(folder / "zoo", folders)
    return folder


@pytest.fixture
def mirror(repository, tmp_path, monkeypatch):
    with serving(repository) as server:
        monkeypatch.setenv("GVTZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv(ADDRESS_VARIABLE, server.address)
        monkeypatch.setattr("gvtzoo.core.download.WAITS", ())
        for module in ("index", "registry"):
            monkeypatch.setattr(f"gvtzoo.hub.{module}.zoo_folder", lambda: repository / "zoo")
        yield server


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def refetched(monkeypatch):
    """Without the making of packages, which takes longest: what is fetched is what counts."""
    made: list[Path] = []

    def install(entry, folder, target):
        made.append(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / DATA).read_bytes()[:100])

    monkeypatch.setattr("gvtzoo.hub.fetch._install", install)
    return made


def failure(*arguments: object) -> str:
    done = invoke(*arguments)
    assert done.exit_code == 1
    assert isinstance(done.exception, GvtzooError)
    message = str(done.exception)
    assert "\n" not in message
    return message


def files_of(repository: Path, name: str) -> tuple[Path, Path]:
    folder = repository / "save_dir" / read_index()[name].checkpoint.folder
    return folder / INDEX, folder / DATA


def test_the_stand_ins_have_the_published_sizes(repository, mirror):
    for name, size in SIZES.items():
        index, data = files_of(repository, name)
        assert (index.stat().st_size, data.stat().st_size) == (INDEX_SIZES[name], size)


def test_one_command_on_a_fresh_machine(mirror, home, tmp_path, caplog):
    """Downloaded, made, tested, installed and predicted with, at full size."""
    image = np.random.default_rng(0).normal(size=(8, 32, 32)).astype(np.float32)
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "ZYX"})
    command = ["predict", DNA, tmp_path / "image.tif", "--pixel-size", "0.29", "-o"]
    done = invoke(*command, tmp_path / "out.tif")
    assert done.exit_code == 0, done.output
    assert caplog.messages[0] == (
        f"{DNA} is not here yet: fetching 74,087,777 bytes (74 MB) from the authors' repository; "
        "the weights are under GPL-3.0-only"
    )
    assert tifffile.imread(tmp_path / "out.tif").shape == image.shape

    package = open_package(home / "models" / f"{DNA}.zip")
    assert sum(p.numel() for p in package.build_network().parameters()) == 6_172_225
    assert package.config.resampled_to == 0.29
    assert package.config.pixel_size == {"y": 0.29, "x": 0.29}
    assert package.config.normalization.before_resampling
    assert package.config.metadata.license == "GPL-3.0-only"
    assert [path.name for path in (home / "downloads").iterdir()] == [f"{DNA}.lock"]

    asked = len(mirror.requests)
    assert invoke(*command, tmp_path / "again.tif").exit_code == 0
    assert len(mirror.requests) == asked == 2
    assert next(m for m in list_models() if m.name == DNA).where == "installed"


@pytest.mark.slow
def test_what_is_made_of_a_download_passes_all_checks(mirror, home):
    assert invoke("download", DNA).exit_code == 0
    results = check_package(home / "models" / f"{DNA}.zip")
    assert not [result for result in results if not result.passed]


@pytest.mark.parametrize("name", SIZES)
def test_every_size_comes_whole(mirror, home, refetched, name):
    done = invoke("download", name)
    assert (done.exit_code, done.stdout) == (0, f"{home / 'models' / name}.zip\n")
    assert mirror.requests == [(INDEX, ""), (DATA, "")]


@pytest.mark.parametrize("name", SIZES)
def test_a_cut_connection_is_gone_on_with(mirror, home, refetched, name):
    mirror.cut_after = SIZES[name] // 2 + 1
    message = failure("download", name)
    assert (
        "the connection broke off. What has come is kept, and the same command goes on" in message
    )
    part = home / "downloads" / name / f"{DATA}.part"
    kept = part.stat().st_size
    assert 0 < kept < SIZES[name]
    mirror.cut_after = None
    assert invoke("download", name).exit_code == 0
    assert mirror.requests[-1] == (DATA, f"bytes={kept}-")
    assert len(refetched) == 1


def test_a_connection_that_is_lost_now_and_then_is_taken_up_at_once(mirror, refetched, monkeypatch):
    monkeypatch.setattr("gvtzoo.core.download.WAITS", (0, 0))
    mirror.cut_after = 3_000_000
    assert invoke("download", FLYWING).exit_code == 0
    assert [name for name, _ in mirror.requests] == [INDEX, DATA, DATA, DATA]


def test_a_wrong_index_is_refused_before_anything_else(repository, mirror, home, refetched):
    index, _ = files_of(repository, FLYWING)
    right = index.read_bytes()
    index.write_bytes(right[:-60] + bytes([right[-60] ^ 1]) + right[-59:])
    try:
        message = failure("download", FLYWING)
    finally:
        index.write_bytes(right)
    assert "is not the file that was published" in message
    assert "gvtzoo import-tf GVTNets/save_dir/care_projection/flywing" in message
    assert mirror.requests == [(INDEX, "")]
    assert not (home / "models").exists()
    assert invoke("download", FLYWING).exit_code == 0


@pytest.mark.parametrize("name", SIZES)
def test_one_flipped_byte_names_its_variable(repository, mirror, home, refetched, name):
    _, data = files_of(repository, name)
    place = SIZES[name] - 2_000
    with data.open("r+b") as file:
        file.seek(place)
        right = file.read(1)
        file.seek(place)
        file.write(bytes([right[0] ^ 16]))
    try:
        message = failure("download", name)
    finally:
        with data.open("r+b") as file:
            file.seek(place)
            file.write(right)
    assert "came damaged" in message
    assert "variable " in message
    assert "run the same command again" in message
    assert refetched == []
    assert invoke("download", name).exit_code == 0
    assert len(refetched) == 1


def test_other_weights_with_right_checksums_of_their_own_are_refused(
    repository, mirror, home, refetched, monkeypatch
):
    monkeypatch.setattr("gvtzoo.packages.tensorflow.read_checkpoint", lambda path: {})
    _, data = files_of(repository, FLYWING)
    right = data.read_bytes()
    data.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    try:
        assert "is not the file that was published" in failure("download", FLYWING)
    finally:
        data.write_bytes(right)


def test_a_page_instead_of_the_file_is_not_taken(mirror, home, refetched):
    mirror.instead = b"<html>Please log in to the guest network</html>"
    message = failure("download", FLYWING)
    assert "127.0.0.1 or a proxy sends another file: it has 47 bytes, not 9046" in message
    mirror.instead = None
    assert invoke("download", FLYWING).exit_code == 0


def test_without_network_the_other_way_is_named(mirror, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "http://127.0.0.1:9")
    message = failure("download", FLYWING)
    assert "127.0.0.1 cannot be reached" in message
    assert "git clone https://github.com/divelab/GVTNets && gvtzoo import-tf" in message


def test_a_proxy_that_does_not_answer_is_named(mirror, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, "http://mirror.invalid")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert "the proxy does not let it through" in failure("download", FLYWING)


def test_a_file_that_is_not_there(mirror, monkeypatch):
    monkeypatch.setenv(ADDRESS_VARIABLE, f"{mirror.address}/elsewhere")
    assert "127.0.0.1 answers 404 Not Found" in failure("download", FLYWING)


def test_a_disk_that_is_too_small_is_noticed_before(mirror, home, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(10**9, 10**9, 10**7)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    message = failure("download", FLYWING)
    assert f"no room for {FLYWING} in {home / 'downloads' / FLYWING}: 26 MB are needed" in message
    assert mirror.requests == []


SCRIPT = """
import resource, sys
from pathlib import Path
import gvtzoo.core.resources
gvtzoo.core.resources.zoo_folder = lambda: Path({zoo!r})
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["gvtzoo", "download", {name!r}]
from gvtzoo.cli.main import main
main()
"""


def start(repository: Path, limit: int = 0) -> subprocess.Popen:
    """The command in a process of its own, whose files may have so many bytes."""
    code = SCRIPT.format(zoo=str(repository / "zoo"), limit=limit, name=FLYWING)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_disk_that_fills_up_is_said_and_the_same_command_goes_on(repository, mirror, home):
    done = start(repository, limit=2**20)
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (1, "")
    assert f"no room for {FLYWING}" in err.splitlines()[-1]
    assert (home / "downloads" / FLYWING / f"{DATA}.part").stat().st_size == 2**20
    assert not (home / "models").exists()


def test_two_processes_at_once_fetch_it_once(repository, mirror, home):
    both = [start(repository), start(repository)]
    found = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], found
    assert {out for out, _ in found} == {f"{home / 'models' / FLYWING}.zip\n"}
    assert [name for name, _ in mirror.requests] == [INDEX, DATA]
    assert open_package(home / "models" / f"{FLYWING}.zip").config.metadata.id == FLYWING
    assert sum("another process is fetching it" in err for _, err in found) == 1


def test_a_package_that_does_not_reproduce_is_not_installed(mirror, home, monkeypatch):
    other = bundled_models()["gvtnet-projection-notum"]
    monkeypatch.setattr(
        "gvtzoo.hub.fetch.import_published",
        lambda entry, checkpoint, output, overwrite: shutil.copy(other, output),
    )
    assert invoke("download", FLYWING).exit_code == 0
    (home / "models" / f"{FLYWING}.zip").unlink()
    monkeypatch.setattr("gvtzoo.hub.fetch.TOLERANCE", -1.0)
    message = failure("download", FLYWING)
    assert "does not reproduce its test image" in message
    assert not (home / "models" / f"{FLYWING}.zip").exists()


def on_a_terminal(monkeypatch) -> None:
    monkeypatch.setattr("gvtzoo.hub.agreement.is_terminal", lambda: True)


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "what?\n"])
def test_without_agreement_nothing_is_fetched(mirror, home, refetched, monkeypatch, answer):
    on_a_terminal(monkeypatch)
    done = invoke("download", FLYWING, input=answer)
    assert "nothing was downloaded" in str(done.exception)
    assert "Download it, under GPL-3.0-only? [y/N]" in done.stderr
    assert mirror.requests == []


def test_the_licence_is_agreed_to_once(mirror, home, refetched, monkeypatch):
    on_a_terminal(monkeypatch)
    first = invoke("download", FLYWING, input="y\n")
    assert first.exit_code == 0
    second = invoke("download", PLANARIA)
    assert second.exit_code == 0
    assert "[y/N]" not in second.stderr


def test_all_asks_about_the_total_and_names_what_fails(mirror, home, refetched, monkeypatch):
    on_a_terminal(monkeypatch)
    declined = invoke("download", "--all", input="n\n")
    assert "16 of the published models are not here yet: fetching 1,001,964,573 bytes" in (
        declined.stderr
    )
    assert mirror.requests == []
    done = invoke("download", "--all", input="y\n")
    assert done.exit_code == 1
    assert len(done.stdout.split()) == 3
    assert done.stderr.splitlines()[-1] == "gvtzoo: 13 of 16 models failed"
    asked = len(mirror.requests)
    again = invoke("download", "--all", "--yes")
    assert again.stderr.splitlines()[-1] == "gvtzoo: 13 of 13 models failed"
    assert len(mirror.requests) == asked + 13


def test_all_has_nothing_to_ask_when_all_are_there(mirror, home, monkeypatch):
    on_a_terminal(monkeypatch)
    (home / "models").mkdir(parents=True)
    for name, entry in read_index().items():
        if entry.checkpoint:
            (home / "models" / f"{name}.zip").touch()
    done = invoke("download", "--all")
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize("arguments", [["download"], ["download", FLYWING, "--all"]])
def test_what_is_to_be_downloaded_has_to_be_clear(arguments):
    assert invoke(*arguments).exit_code == 2
