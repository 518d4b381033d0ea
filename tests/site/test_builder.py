"""The page's files, without a browser."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.metadata import MetricRow
from gvtzoo.site.builder import build_site, render
from gvtzoo.site.cards import Command

# Surrogates cannot be written, and parsers read control characters as something else.
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40)
MARKUP = st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onclick='x", "&lt;b&amp;"]
)


class Parsed(HTMLParser):
    """Elements with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def values(self, attribute: str) -> list[str]:
        return [
            attributes[attribute] or ""
            for _, attributes in self.elements
            if attribute in attributes
        ]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def skeleton(parsed: Parsed) -> list[tuple[str, list[str]]]:
    return [(tag, sorted(attributes)) for tag, attributes in parsed.elements]


def test_every_model_is_on_the_page(site, cards):
    parsed = Parsed(site.read_text(encoding="utf-8"))
    articles = [attributes["id"] for tag, attributes in parsed.elements if tag == "article"]
    assert articles == [card.id for card in cards]
    for card in cards:
        for text in (card.name, card.description, card.license, card.obtained):
            assert text in parsed.text
        for command in card.commands:
            assert command.label in parsed.text
            assert command.text in parsed.text


def test_filters_offer_what_there_is(site):
    parsed = Parsed(site.read_text(encoding="utf-8"))
    options = [attributes["value"] for tag, attributes in parsed.elements if tag == "option"]
    assert options == [
        *("", "denoising", "label_free", "projection"),
        *("", "DNA", "actin filaments", "fly wing", "nuclei"),
        *("", "3D", "3D → 2D"),
    ]


def test_links_within_the_page_lead_somewhere(site):
    parsed = Parsed(site.read_text(encoding="utf-8"))
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    for link in parsed.values("href") + parsed.values("src"):
        if link.startswith("#"):
            assert link[1:] in ids
        elif not link.startswith(("https://", "data:,")):
            assert (site.parent / link).is_file()
    for attribute in ("for", "aria-labelledby", "aria-describedby", "data-copy"):
        assert set(parsed.values(attribute)) <= set(ids)


def test_metrics_show_the_network_first_and_the_others_on_demand(site):
    html = site.read_text(encoding="utf-8")
    before, details, after = html.partition("<details>")
    assert "0.9400" in before
    assert "0.5700" in before
    assert "0.8200" not in before
    assert details
    assert "0.8200" in after
    assert html.count("Not yet measured.") == 3


def test_nothing_is_said_of_methods_that_were_not_compared(cards, imported):
    alone = imported("alone", metrics=(MetricRow(data="dishes", method="GVTNet", r=0.5),))
    html = render([alone])
    assert "0.5000" in html
    assert "Compared with other methods" not in html


def test_models_without_weights_say_how_to_get_them(imported):
    html = render([imported("label-free-actin")])
    assert "No picture" in html
    assert "Import it from a clone" in html
    assert "download>" not in html


def test_projections_do_not_claim_ilastik(imported):
    assert "Not supported" in render([imported("wing", dimensions="3D → 2D")])
    assert "Not supported" not in render([imported("wing")])


@settings(deadline=None)
@given(name=TEXT | MARKUP, text=TEXT | MARKUP)
def test_texts_of_models_never_become_markup(imported, name, text):
    card = imported(
        "stranger",
        name=name,
        structure=text or "-",
        description=text,
        license="+" + text,
        obtained=text,
        metrics=(
            MetricRow(data=text, condition=text, method="gvtnet" + text, **{"x" + text: 1.0}),
        ),
        commands=(Command(text, text),),
    )
    harmless = imported(
        "stranger",
        name="a",
        structure="a",
        description="a",
        license="+",
        obtained="a",
        metrics=(MetricRow(data="a", condition="a", method="gvtnet", x=1.0),),
        commands=(Command("a", " ".join("a" for _ in text.split(" "))),),
    )
    parsed = Parsed(render([card]))
    assert skeleton(parsed) == skeleton(Parsed(render([harmless])))
    assert text in parsed.text
    assert name in parsed.text


@pytest.mark.parametrize("license_name", ["proprietary, ask", "javascript:alert(1)", ""])
def test_only_identifiers_of_licences_are_links(imported, license_name):
    links = Parsed(render([imported("a", license=license_name)])).values("href")
    assert not any("spdx.org" in link or "javascript" in link for link in links)


@pytest.mark.parametrize("identifier", ["../up", "a/b", "", ".", "A", "a b", "a\n", 'a"b'])
def test_ids_that_could_leave_the_folder_are_refused(imported, tmp_path, identifier):
    with pytest.raises(GvtzooError, match="id"):
        build_site([imported(identifier)], tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_the_same_id_twice_is_refused(imported, tmp_path):
    with pytest.raises(GvtzooError, match="two models with the id 'a'"):
        build_site([imported("a"), imported("a")], tmp_path / "site")


def test_the_same_cards_give_the_same_bytes(cards, tmp_path):
    first, second = (build_site(cards, tmp_path / name).parent for name in ("a", "b"))
    assert contents(first) == contents(second)
    assert set(contents(first)) == {
        "index.html",
        "style.css",
        "page.js",
        "models/denoise-nuclei/input.png",
        "models/denoise-nuclei/prediction.png",
        "models/denoise-nuclei/truth.png",
        "models/denoise-nuclei/denoise-nuclei.zip",
    }


def test_a_folder_with_something_else_is_left_alone(cards, tmp_path):
    (tmp_path / "index.html").write_text("<h1>My holidays</h1>")
    with pytest.raises(GvtzooError, match="something else than an earlier page") as error:
        build_site(cards, tmp_path)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == {"index.html": b"<h1>My holidays</h1>"}


def test_a_file_is_left_alone(cards, tmp_path):
    path = tmp_path / "site"
    path.write_text("mine")
    with pytest.raises(GvtzooError, match="is a file"):
        build_site(cards, path)
    assert path.read_text() == "mine"


def test_an_earlier_page_is_replaced_and_other_files_stay(cards, imported, tmp_path):
    folder = tmp_path / "site"
    build_site(cards, folder)
    (folder / "CNAME").write_text("zoo.example.org")
    build_site([imported("newer")], folder)
    assert 'id="newer"' in (folder / "index.html").read_text()
    assert (folder / "CNAME").read_text() == "zoo.example.org"


def test_an_empty_folder_is_used(cards, tmp_path):
    assert build_site(cards, tmp_path) == tmp_path / "index.html"


def test_a_failure_changes_nothing(cards, imported, tmp_path):
    folder = tmp_path / "site"
    build_site(cards, folder)
    before = contents(tmp_path)
    with pytest.raises(OSError, match="gone"):
        build_site([imported("newer", package=tmp_path / "gone.zip")], folder)
    assert contents(tmp_path) == before


def test_nothing_is_left_beside_the_page(cards, tmp_path):
    build_site(cards, tmp_path / "deep" / "site")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["site"]


def test_the_page_works_where_it_is_moved(cards, tmp_path):
    folder = build_site(cards, tmp_path / "site").parent
    html = (folder / "index.html").read_text()
    assert str(tmp_path) not in html
    shutil.move(folder, tmp_path / "elsewhere")
    parsed = Parsed(html)
    local = [link for link in parsed.values("src") if not link.startswith("https:")]
    assert all((tmp_path / "elsewhere" / link).is_file() for link in local)


def test_nothing_is_loaded_from_the_network(site):
    """Links lead elsewhere, but whatever the browser loads by itself lies beside the page."""
    parsed = Parsed(site.read_text(encoding="utf-8"))
    loaded = parsed.values("src") + [
        attributes["href"] for tag, attributes in parsed.elements if tag == "link"
    ]
    assert not any("//" in address for address in loaded)
    for name in ("style.css", "page.js"):
        text = (site.parent / name).read_text()
        assert not re.search(r"https?:|url\(|@import|fetch\(", text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("text", "page", 4.5),
        ("text", "card", 4.5),
        ("text", "code", 4.5),
        ("quiet", "page", 4.5),
        ("quiet", "card", 4.5),
        ("accent", "card", 4.5),
        ("accent", "page", 4.5),
        ("on-accent", "accent", 4.5),
        ("edge", "card", 3.0),
        ("edge", "page", 3.0),
    ],
)
def test_colours_have_the_contrast_that_wcag_aa_asks_for(site, scheme, front, back, least):
    style = (site.parent / "style.css").read_text()
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#\w{6});", dark))
    brighter, darker = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
    assert (brighter + 0.05) / (darker + 0.05) >= least


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
