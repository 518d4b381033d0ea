"""Downloads with huggingface_hub's own client, from a Hub on loopback that misbehaves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.hub import huggingface
from gvtzoo.hub.huggingface import download, split_name
from gvtzoo.hub.load import load
from gvtzoo.hub.publish import upload
from gvtzoo.packages.reader import open_package

UNREACHABLE = "http://127.0.0.1:9"
WEIGHTS = "package/weights.safetensors"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(huggingface, "WAITS", (0, 0))


@pytest.fixture
def weights_address(publication) -> str:
    """Where the server has the weights, as a pattern of requests."""
    return f"GET /cdn/{hashlib.sha256(publication.files[WEIGHTS]).hexdigest()}"


def holds_the_package(folder: Path, publication) -> bool:
    return all(
        (folder.parent / name).read_bytes() == content
        for name, content in publication.files.items()
        if name.startswith("package/")
    )


def test_names_and_revisions():
    assert split_name("a/b") == ("a/b", None)
    assert split_name("a.b/c-d_e@refs/pr/1") == ("a.b/c-d_e", "refs/pr/1")
    for name in ("a", "a/b/c", "a/b@", "../b", "a/b c"):
        with pytest.raises(GvtzooError, match="ORG/NAME"):
            split_name(name)


def test_only_the_package_is_fetched(published, publication):
    folder = download("alice/tiny")
    assert holds_the_package(folder, publication)
    assert [path.name for path in folder.parent.iterdir()] == ["package"]
    assert all("/package/" in request for request in published.seen("/resolve/"))


def test_nothing_is_fetched_twice(published):
    first = download("alice/tiny")
    published.requests.clear()
    assert download("alice/tiny") == first
    # By huggingface_hub, which does not say whether it was answered, and by us.
    assert published.requests == 2 * ["GET /api/models/alice/tiny/revision/main"]


def test_a_published_model_predicts_as_before(published, package):
    image = np.random.default_rng(0).poisson(9, (33, 40)).astype(np.float32)
    expected = load(package).predict(image, axes="YX")
    np.testing.assert_array_equal(load("alice/tiny").predict(image, axes="YX"), expected)


def test_branches_tags_and_commits_are_revisions(published, newer):
    upload(newer)
    old = published.repositories["alice/tiny"].tags["1.0.0"]
    for revision in ("1.0.0", "v1.0.0", old):
        assert (download(f"alice/tiny@{revision}") / "sample_input.tif").exists()
    for name in ("alice/tiny", "alice/tiny@main", "alice/tiny@1.1.0"):
        assert not (download(name) / "sample_input.tif").exists()


def test_from_a_fresh_machine_and_then_without_network(published, elsewhere, tmp_path):
    image = tmp_path / "image.npy"
    np.save(image, np.random.default_rng(0).poisson(9, (32, 32)).astype(np.float32))
    outputs = [tmp_path / "first.npy", tmp_path / "second.npy"]
    for output, offline in zip(outputs, "01", strict=True):
        command = ("-m", "gvtzoo", "predict", "alice/tiny", image, "-o", output, "--axes", "YX")
        done = elsewhere(*command, HF_HUB_OFFLINE=offline)
        assert (done.returncode, done.stderr) == (0, "")
    first, second = map(np.load, outputs)
    np.testing.assert_array_equal(first, second)


def test_a_copy_in_the_cache_serves_where_the_hub_is_away(
    published, publication, monkeypatch, caplog
):
    download("alice/tiny")
    download("alice/tiny")
    assert caplog.text == ""
    monkeypatch.setenv("HF_ENDPOINT", UNREACHABLE)
    assert holds_the_package(download("alice/tiny"), publication)
    assert f"alice/tiny: {UNREACHABLE} cannot be reached" in caplog.text
    assert "which may be outdated" in caplog.text


def test_a_copy_in_the_cache_serves_where_the_hub_is_ill(published, publication, impatient):
    download("alice/tiny")
    published.fail("/api/models", 503, times=99)
    assert holds_the_package(download("alice/tiny"), publication)


def test_the_network_away_and_nothing_in_the_cache(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", UNREACHABLE)
    with pytest.raises(GvtzooError, match=r"127\.0\.0\.1:9 cannot be reached.*check the network"):
        download("alice/tiny")


def test_offline_and_nothing_in_the_cache(published, elsewhere):
    done = elsewhere("-m", "gvtzoo", "download", "alice/tiny", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE forbids" in done.stderr
    assert done.stderr.count("\n") == 1
    assert published.requests == []


@pytest.mark.parametrize("token", [None, "hf_bob"])
def test_a_private_model_needs_a_token_that_may_read_it(published, monkeypatch, tmp_path, token):
    published.repositories["alice/tiny"].private = True
    assert download("alice/tiny").is_dir()
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(
        GvtzooError, match=r"no repository alice/tiny .* or it is private.*HF_TOKEN"
    ):
        download("alice/tiny")


def test_a_gated_model_says_where_to_ask(published, monkeypatch):
    published.repositories["alice/tiny"].gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    with pytest.raises(GvtzooError, match=f"ask for access at {published.address}/alice/tiny"):
        download("alice/tiny")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alice/none", "no repository alice/none"),
        ("alice/tiny@2.0.0", "no branch, tag or commit '2.0.0'"),
        ("alice/ti--ny", "cannot be a repository's name"),
    ],
)
def test_what_is_not_there(published, name, message):
    with pytest.raises(GvtzooError, match=message):
        download(name)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "does not accept the token"),
        (403, "gives no right"),
        (429, "wants fewer requests"),
        (500, "an error of its own"),
        (503, "an error of its own"),
    ],
)
def test_refusals_say_what_to_do(published, impatient, status, message):
    published.fail("/api/models", status, times=99)
    with pytest.raises(GvtzooError, match=message) as caught:
        download("alice/tiny")
    assert "\n" not in str(caught.value)


def test_a_token_that_is_not_one(published, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_old")
    with pytest.raises(GvtzooError, match="does not accept the token"):
        download("alice/tiny")


def test_a_repository_without_a_package(hub, publication):
    upload(replace(publication, files={"README.md": publication.files["README.md"]}))
    with pytest.raises(GvtzooError, match=r"is not a BioImage\.IO model"):
        download("alice/tiny")


@pytest.mark.parametrize("pattern", ["/api/models/.*/revision", "/tree/", "GET /cdn/"])
def test_an_error_of_the_server_is_tried_again(published, publication, impatient, pattern):
    published.fail(pattern, 503)
    assert holds_the_package(download("alice/tiny"), publication)


def test_a_connection_cut_midway_is_continued(hub, publication):
    large = np.random.default_rng(0).bytes(12 * 2**20)
    files = {**publication.files, "package/large.npy": large}
    upload(replace(publication, files=files))
    address = f"GET /cdn/{hashlib.sha256(large).hexdigest()}"
    hub.fail(address, cut_after=11 * 2**20)
    assert (download("alice/tiny") / "large.npy").read_bytes() == large
    first, second = hub.seen(address)
    assert second == f"{first} bytes={10 * 2**20}-"  # the client keeps whole chunks


def test_a_connection_that_stays_cut_leaves_no_broken_cache(
    published, publication, weights_address, cache, impatient
):
    fault = published.fail(weights_address, cut_after=0, times=99)
    with pytest.raises(GvtzooError, match="cannot be reached or breaks off"):
        download("alice/tiny")
    assert not list(cache.rglob("*.incomplete"))
    fault.times = 0
    assert holds_the_package(download("alice/tiny"), publication)


def test_a_killed_download_is_completed_by_the_next(
    published, publication, weights_address, elsewhere, tmp_path
):
    midway, killed = threading.Event(), threading.Event()

    def stall() -> None:
        midway.set()
        killed.wait(60)

    published.fail(weights_address, before=stall)
    process = elsewhere("-m", "gvtzoo", "download", "alice/tiny", wait=False)
    assert midway.wait(60)
    process.kill()
    process.communicate()
    killed.set()
    offline = elsewhere("-m", "gvtzoo", "download", "alice/tiny", HF_HUB_OFFLINE="1")
    assert "not completely, in the cache" in offline.stderr
    done = elsewhere("-m", "gvtzoo", "download", "alice/tiny")
    assert (done.returncode, done.stderr) == (0, "")
    assert holds_the_package(Path(done.stdout.strip()), publication)


def test_two_processes_at_once(published, publication, elsewhere):
    processes = [elsewhere("-m", "gvtzoo", "download", "alice/tiny", wait=False) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    assert holds_the_package(Path(outputs[0][0].strip()), publication)


def test_a_full_disk_ends_in_one_line_and_leaves_no_broken_cache(published, publication, elsewhere):
    code = (
        "import resource, sys\n"
        "from gvtzoo.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.argv = ['gvtzoo', 'download', 'alice/tiny']\n"
        "main()"
    )
    full = elsewhere("-c", code)
    assert full.returncode == 1
    assert full.stderr.startswith("gvtzoo: there is no room for alice/tiny in ")
    assert full.stderr.count("\n") == 1
    done = elsewhere("-m", "gvtzoo", "download", "alice/tiny")
    assert holds_the_package(Path(done.stdout.strip()), publication)


def test_what_arrives_damaged_is_fetched_again(published, publication, weights_address):
    published.fail(weights_address, corrupt=True)
    assert holds_the_package(download("alice/tiny"), publication)


def test_what_always_arrives_damaged_is_refused(published, publication, weights_address):
    fault = published.fail(weights_address, corrupt=True, times=99)
    with pytest.raises(GvtzooError, match=r"weights\.safetensors is damaged"):
        download("alice/tiny")
    fault.times = 0
    assert holds_the_package(download("alice/tiny"), publication)


@pytest.mark.parametrize("name", ["weights.safetensors", "README.md"])
def test_a_file_that_was_damaged_in_the_cache(published, publication, monkeypatch, name):
    path = download("alice/tiny") / name
    path.resolve().write_bytes(b"x" + path.read_bytes()[1:])
    monkeypatch.setenv("HF_ENDPOINT", UNREACHABLE)
    with pytest.raises(GvtzooError, match=f"{name} is damaged.*connect to the network"):
        download("alice/tiny")
    monkeypatch.setenv("HF_ENDPOINT", published.address)
    assert holds_the_package(download("alice/tiny"), publication)


def test_the_zip_of_the_cards_instructions_opens(published, tmp_path):
    files = sorted(download("alice/tiny").iterdir())
    archive = tmp_path / "MODEL.zip"
    subprocess.run([sys.executable, "-m", "zipfile", "-c", archive, *files], check=True)
    assert open_package(archive).config.metadata.id == "tiny-model"
