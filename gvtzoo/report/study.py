"""The page of a study, a sweep or a transfer: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gvtzoo.core.files import write_atomically
from gvtzoo.report.picture import Picture
from gvtzoo.report.templates import fill, page_style, policy, template


@dataclass(frozen=True)
class StudyTable:
    """A table of texts; the first `names` columns are words, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


@dataclass(frozen=True)
class Study:
    """What a page says.

    Attributes
    ----------
    title, generator, command : str
        The generator is the command's name, `command` the whole line that repeats the study.
    facts : mapping of str to str
        Those without a text are left out.
    sentences : sequence of str
        What was found.
    tables : sequence of StudyTable
    notes : sequence of str
        How to read the tables.
    figures : sequence of Picture
    files : mapping of str to str
        What lies beside the page, with a description.
    """

    title: str
    generator: str
    command: str
    facts: Mapping[str, str]
    sentences: Sequence[str]
    tables: Sequence[StudyTable]
    notes: Sequence[str]
    figures: Sequence[Picture]
    files: Mapping[str, str]


def write_study(study: Study, page: Path) -> Path:
    """Write the page; an earlier one is replaced. Every text is escaped."""
    values = {**vars(study), "policy": policy(), "style": page_style()}
    html = fill(template("study.html"), {}, values)
    with write_atomically(page) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return page
