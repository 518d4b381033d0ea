"""Files of folders that may come from strangers."""

from __future__ import annotations

import os

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import check_links, file_in


@pytest.fixture
def folder(tmp_path):
    """A folder, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.txt").write_text("a")
    return folder


LEADING_OUT = ["../secret.txt", "/etc/passwd", "inner/../../secret.txt", "link.txt", "../nothing"]


@pytest.mark.parametrize("target", LEADING_OUT)
def test_links_that_lead_out_are_refused(folder, target):
    (folder / "link.txt").symlink_to(target)
    with pytest.raises(GvtzooError, match="leads out of"):
        file_in(folder, "link.txt")
    with pytest.raises(GvtzooError, match=r"link\.txt is a link that leads out of it"):
        check_links(folder)


def test_folders_that_lead_out_are_refused(folder):
    (folder / "inner" / "more").symlink_to(folder.parent / "outside")
    (folder.parent / "outside" / "b.txt").write_text("b")
    with pytest.raises(GvtzooError, match="leads out of"):
        file_in(folder, "inner/more/b.txt")
    with pytest.raises(GvtzooError, match="leads out of it"):
        check_links(folder)


def test_what_stays_inside_is_read(folder):
    (folder / "link.txt").symlink_to("inner/a.txt")
    (folder.parent / "other_name").symlink_to(folder)
    for place in (folder, folder.parent / "other_name"):
        check_links(place)
        for name in ("link.txt", "inner/a.txt"):
            assert file_in(place, name).read_text() == "a"


def test_the_cache_of_hugging_face_links_to_its_own_contents_only(tmp_path):
    package = tmp_path / "models--me--mine" / "snapshots" / "0123" / "package"
    package.mkdir(parents=True)
    for place, content in (("models--me--mine", "own"), ("models--me--other", "other")):
        (tmp_path / place / "blobs").mkdir(parents=True)
        (tmp_path / place / "blobs" / "ab").write_text(content)
    (package / "own.txt").symlink_to("../../../blobs/ab")
    (package / "other.txt").symlink_to("../../../../models--me--other/blobs/ab")
    assert file_in(package, "own.txt").read_text() == "own"
    with pytest.raises(GvtzooError, match="leads out of"):
        file_in(package, "other.txt")


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe")
    for name in ("pipe", "inner", "nothing"):
        with pytest.raises(FileNotFoundError):
            file_in(folder, name)
