"""``gvtzoo site``."""

from __future__ import annotations

from command_line import invoke

from gvtzoo.core.errors import GvtzooError


def test_the_page_is_made_and_named(tmp_path, monkeypatch):
    # They take long to draw: tests/site/test_cards.py
    monkeypatch.setattr("gvtzoo.site.cards.pictures_of", lambda *_: None)
    done = invoke("site", "-o", tmp_path / "zoo")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'zoo' / 'index.html'}\n"
    assert not done.stderr
    page = (tmp_path / "zoo" / "index.html").read_text()
    assert "gvtnet-denoising-nuclei" in page
    assert "gvtnet-label-free-dna" in page


def test_a_folder_with_something_else_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("gvtzoo.site.cards.zoo_cards", list)
    (tmp_path / "thesis.tex").write_text("all of it")
    done = invoke("site", "-o", tmp_path)
    assert done.exit_code == 1
    assert not done.stdout
    assert isinstance(done.exception, GvtzooError)
    assert str(done.exception).startswith(f"{tmp_path} holds something else")
    assert "\n" not in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
