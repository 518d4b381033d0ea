"""Images on a real server: only what is needed is asked for, and what fails is told or mended."""

from __future__ import annotations

import gc
import logging
import pickle

import numpy as np
import pytest
import zarr
from image_server import serving
from ome_zarr_files import multiscale, write

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images import remote
from gvtzoo.images.files import open_image, read_image

IMAGE = np.random.default_rng(0).integers(1, 2**16, (4, 40, 32), np.uint16)
PART = (slice(0, 4), slice(8, 20), slice(0, 8))  # two of the 5×4 chunks


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01))


@pytest.fixture
def server(tmp_path):
    levels = [[{"type": "scale", "scale": [1.0, size, size]}] for size in (1.0, 2.0)]
    described = multiscale("zyx", units=dict.fromkeys("zyx", "micrometer"), levels=levels)
    for version in ("0.4", "0.5"):
        write(tmp_path / f"{version}.zarr", [IMAGE, IMAGE[:, ::2, ::2]], described, version)
    with serving(tmp_path) as served:
        yield served


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_only_the_chunks_that_are_needed(server, version):
    image = open_image(f"{server.url}/{version}.zarr")
    assert server.chunks == []
    assert (image.sizes, image.unit) == ({"z": 4, "y": 40, "x": 32}, "micrometer")
    np.testing.assert_array_equal(image.array[PART], IMAGE[PART])
    assert len(server.chunks) == 2
    for _ in range(2):
        np.testing.assert_array_equal(image.array[PART], IMAGE[PART])
    assert len(server.chunks) == 2
    np.testing.assert_array_equal(image.load(), IMAGE)
    assert len(server.chunks) == len(set(server.chunks)) == 20
    assert len(server.requests) <= 30


def test_an_image_goes_to_other_processes(server):
    image = pickle.loads(pickle.dumps(open_image(f"{server.url}/0.5.zarr/")))
    np.testing.assert_array_equal(image.array[PART], IMAGE[PART])


@pytest.mark.parametrize("failure", ["drop", 503, 429])
def test_what_fails_once_is_tried_again(server, failure):
    server.fails = lambda path, number: failure if number == 1 else None
    np.testing.assert_array_equal(read_image(f"{server.url}/0.5.zarr"), IMAGE)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("drop", "the connection breaks"),
        (500, "the server answers with status 500"),
        (403, "the server refuses to show it (403)"),
        (416, "has less of it than the image's index says (416)"),
    ],
)
def test_what_fails_for_good_is_told_in_one_line(server, failure, message):
    url = f"{server.url}/0.4.zarr"
    image = open_image(url)
    server.fails = lambda path, number: failure
    with pytest.raises(GvtzooError) as caught:
        image.load()
    assert message in str(caught.value)
    assert url in str(caught.value)


def test_an_image_that_is_not_there(server):
    with pytest.raises(GvtzooError, match=rf"^{server.url}/no.zarr is no OME-Zarr image"):
        read_image(f"{server.url}/no.zarr")
    server.fails = lambda path, number: 403
    with pytest.raises(GvtzooError, match=r"no.zarr: the server refuses to show it \(403\)"):
        read_image(f"{server.url}/no.zarr")


def test_a_server_that_refuses_what_it_does_not_have(server, tmp_path):
    """As buckets do whose content may not be listed."""
    server.fails = lambda path, number: None if (tmp_path / path).is_file() else 403
    np.testing.assert_array_equal(read_image(f"{server.url}/0.4.zarr"), IMAGE)


def test_a_server_that_is_gone(tmp_path):
    with serving(tmp_path) as served:
        url = f"{served.url}/a.zarr"
    with pytest.raises(GvtzooError, match=r"a.zarr.*the connection breaks"):
        read_image(url)


def test_nothing_is_left_behind(server, recwarn):
    image = open_image(f"{server.url}/0.5.zarr")
    image.load()
    folder = image.array.array.store._folder
    assert any(folder.iterdir())
    del image
    gc.collect()
    assert not folder.exists()
    assert not [warning for warning in recwarn if "Unclosed" in str(warning.message)]


def test_missing_chunks_are_told_once(server, tmp_path, caplog):
    (tmp_path / "0.5.zarr" / "0" / "c" / "0" / "1" / "0").unlink()
    image = open_image(f"{server.url}/0.5.zarr")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (image.array[PART][:, :8] == 0).all()
    assert caplog.text.count("chunks are missing on the server") == 1
    assert server.requests.count("0.5.zarr/0/c/0/1/0") == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_shards_are_read_in_parts(server, tmp_path, ranges):
    group = zarr.create_group(
        tmp_path / "s.zarr",
        attributes={"ome": {"version": "0.5", "multiscales": [multiscale("zyx")]}},
    )
    group.create_array("0", data=IMAGE, chunks=(4, 8, 8), shards=(4, 40, 32), compressors=None)
    server.ranges = ranges
    image = open_image(f"{server.url}/s.zarr")
    described = server.sent
    np.testing.assert_array_equal(image.array[PART], IMAGE[PART])
    if ranges:
        assert server.sent - described < IMAGE.nbytes / 4
    np.testing.assert_array_equal(image.load(), IMAGE)


def test_buckets(server, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    image = open_image("s3://0.4.zarr/")
    np.testing.assert_array_equal(image.load(), IMAGE)
    with pytest.raises(GvtzooError, match=r"^s3://0.4.zarr/no is no OME-Zarr image"):
        open_image("s3://0.4.zarr/no")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/a.zarr", r"from https:// and s3://, not from ftp://"),
        ("https://example.org/a.zarr?token=1", r"without what follows \? or #"),
    ],
)
def test_addresses_that_are_not_read(url, message):
    with pytest.raises(GvtzooError, match=message):
        open_image(url)
