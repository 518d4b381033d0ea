"""Writing the zoo's page: one HTML file with its style, script, pictures and packages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.card_text import FIJI_VOXELS
from gvtzoo.recipes.metadata import MODEL_ID, MetricRow
from gvtzoo.report.templates import base_style, fill
from gvtzoo.site.cards import ModelCard

PAGE = "index.html"
GENERATOR = '<meta name="generator" content="gvtzoo site">'
HEAD = 2048  # bytes of a page in which its generator is looked for
TASKS = {
    "denoising": "Denoising",
    "label_free": "Label-free prediction",
    "projection": "Surface projection",
}


def build_site(cards: Iterable[ModelCard], folder: str | Path) -> Path:
    """Write the page; the same cards give the same bytes.

    An earlier page in `folder` is replaced, other files there stay. All files are written beside
    the folder first, and ``index.html`` is moved in last.

    Parameters
    ----------
    cards : iterable of ModelCard
    folder : path
        New, empty, or with an earlier page.

    Returns
    -------
    Path
        Of ``index.html``.

    Raises
    ------
    GvtzooError
        When the folder holds something else, or an id is unfit for a file name or there twice.
    """
    folder, cards = Path(folder), tuple(cards)
    _check_folder(folder)
    _check_ids(cards)
    place = folder.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as temporary:
        staged = Path(temporary)
        _write(cards, staged)
        _move(staged, place)
    return folder / PAGE


def render(cards: Sequence[ModelCard]) -> str:
    """The page's HTML; every text of a card is escaped."""
    filters: dict[str, Callable[..., Any]] = {
        "size": _size,
        "number": "{:#.4g}".format,
        "measures": measures,
    }
    tasks = {card.task for card in cards}
    values = {
        "by_data": by_data,
        "by_condition": by_condition,
        "own": own_metrics,
        "search_text": search_text,
        "spdx_link": spdx_link,
        "groups": [
            [card for card in cards if (card.pictures is not None) == pictured]
            for pictured in (True, False)
        ],
        "cards": cards,
        "generator": GENERATOR,
        "tasks": [choice for choice in TASKS.items() if choice[0] in tasks],
        "structures": _choices(card.structure for card in cards if card.structure),
        "dimensions": _choices(card.dimensions for card in cards),
        "titles": TASKS,
        "fiji_voxels": FIJI_VOXELS,
    }
    return fill(_template(PAGE), filters, values)


def search_text(card: ModelCard) -> str:
    """What the search looks in, in lower case."""
    words = (card.id, card.name, TASKS[card.task], card.structure, card.dimensions)
    return " ".join((*words, card.description, card.license)).lower()


def measures(rows: Iterable[MetricRow]) -> list[str]:
    """Names of the metrics, in the order in which rows name them."""
    return list(dict.fromkeys(name for row in rows for name in row.values))


def own_metrics(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """The network's rows, without those of the methods it is compared with."""
    return [row for row in rows if "gvtnet" in row.method.lower()]


def by_data(rows: Iterable[MetricRow]) -> Mapping[str, list[MetricRow]]:
    """Rows of each data set."""
    grouped: dict[str, list[MetricRow]] = {}
    for row in rows:
        grouped.setdefault(row.data, []).append(row)
    return grouped


def spdx_link(license_name: str) -> str | None:
    """The licence's page, for what can be an SPDX identifier."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", license_name):
        return None
    return f"https://spdx.org/licenses/{license_name}.html"


def by_condition(rows: Iterable[MetricRow]) -> Mapping[str, list[MetricRow]]:
    """Rows of each condition."""
    grouped: dict[str, list[MetricRow]] = {}
    for row in rows:
        grouped.setdefault(row.condition, []).append(row)
    return grouped


def _choices(values: Iterable[str]) -> list[tuple[str, str]]:
    """Value and title of a list's entries."""
    return [(value, value) for value in sorted(set(values))]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


def _template(name: str) -> str:
    return files("gvtzoo.site").joinpath("template", name).read_text(encoding="utf-8")


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise GvtzooError(f"{folder} is a file: name a folder for the page")
    if any(folder.iterdir()) and not _is_site(folder):
        raise GvtzooError(
            f"{folder} holds something else than an earlier page: choose a new or an empty folder"
        )


def _is_site(folder: Path) -> bool:
    page = folder / PAGE
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return GENERATOR.encode() in file.read(HEAD)


def _check_ids(cards: Sequence[ModelCard]) -> None:
    seen: set[str] = set()
    for card in cards:
        if not re.fullmatch(MODEL_ID.strip("^$"), card.id):
            raise GvtzooError(
                f"the model id {card.id!r} has other characters than a-z, 0-9, '.' and '-'"
            )
        if card.id in seen:
            raise GvtzooError(f"there are two models with the id {card.id!r}")
        seen.add(card.id)


def _write(cards: Sequence[ModelCard], folder: Path) -> None:
    for card in cards:
        own = folder / "models" / card.id
        own.mkdir(parents=True)
        if card.pictures is not None:
            (own / "input.png").write_bytes(card.pictures.before)
            (own / "prediction.png").write_bytes(card.pictures.after)
            if card.pictures.truth is not None:
                (own / "truth.png").write_bytes(card.pictures.truth)
        if card.package is not None:
            shutil.copyfile(card.package, own / f"{card.id}.zip")
    texts = {
        "style.css": f"{base_style()}\n{_template('style.css')}",
        "page.js": _template("page.js"),
        PAGE: render(cards),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _move(staged: Path, folder: Path) -> None:
    """Every file to its place, the page last: what it names is there by then."""
    written = sorted(path for path in staged.rglob("*") if path.is_file())
    for path in sorted(written, key=lambda path: path == staged / PAGE):
        place = folder / path.relative_to(staged)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
