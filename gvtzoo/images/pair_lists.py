"""Lists of image pairs: tables as spreadsheet programs save them, and names for their rows."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import find_images
from gvtzoo.images.ome_sets import files_of, image_of

TABLE_SUFFIXES = (".csv", ".tsv")
SEPARATORS = ",;\t"
P = TypeVar("P")
UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Row:
    """A row of a table: its values by column, empty where it has none, and its line."""

    values: dict[str, str]
    line: int

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")


@dataclass(frozen=True)
class Table:
    """Columns, in lower case, and the rows that are not empty."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def require(self, *columns: str) -> None:
        """Refuse a table that lacks one of these.

        Raises
        ------
        GvtzooError
        """
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise GvtzooError(
                f"{self.path} lacks the column {missing[0]!r}: its first line has to name "
                f"{','.join(columns)}"
            )

    def file(self, row: Row, column: str, folder: Path, endings: Sequence[str] = ()) -> Path:
        """The image that a row names, its path relative to a folder.

        Parameters
        ----------
        row : Row
        column : str
        folder : Path
        endings : sequence of str
            That the file may have in place of its own.

        Raises
        ------
        GvtzooError
            When the row names none, or there is no such file.
        """
        text = row[column]
        if not text:
            raise GvtzooError(
                f"{self.path}, line {row.line}: a row without source or target: fill in both"
            )
        found = find_file(folder, text, endings)
        if found is None:
            raise GvtzooError(
                f"{self.path}, line {row.line}: there is no file {folder / text}: download the "
                "data, or name the folder that its paths start from"
            )
        return image_of(found)


def is_table(path: Path) -> bool:
    """Whether this is a list of pairs, and not a folder or an image."""
    return path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir()


def read_table(path: Path) -> Table:
    """A table of text with a first line of column names.

    Read as what spreadsheet programs write: separated by commas, semicolons or tabs, in UTF-8 or
    UTF-16 with or without a byte order mark, or in Latin-1.

    Raises
    ------
    GvtzooError
        When it cannot be read, or a row has more values than there are columns.
    """
    if not path.is_file():
        raise GvtzooError(f"there is no file {path}")
    text = _decoded(path.read_bytes())
    lines = text.splitlines()
    separator = max(SEPARATORS, key=lines[0].count) if lines else ","
    if lines and lines[0].lower().startswith("sep=") and len(lines[0].strip()) == 5:
        separator, text = lines[0][4], "\n" + "\n".join(lines[1:])  # as Excel is told by some
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    columns: tuple[str, ...] = ()
    rows = []
    try:
        for values in reader:
            values = [unicodedata.normalize("NFC", value.strip()) for value in values]
            if not any(values):
                continue
            if not columns:
                columns = tuple(value.lower() for value in values)
                continue
            if any(values[len(columns) :]):
                raise GvtzooError(
                    f"{path}, line {reader.line_num}: more values than the {len(columns)} columns: "
                    "put names that hold a separator in quotes"
                )
            rows.append(Row(dict(zip(columns, values, strict=False)), reader.line_num))
    except csv.Error as error:
        raise GvtzooError(f"{path}, line {reader.line_num}: {error}") from error
    return Table(path, columns, tuple(rows))


def _decoded(content: bytes) -> str:
    if content.startswith(UTF16):
        return content.decode("utf-16", errors="replace")
    # Text of UTF-16 without its mark is every second byte zero.
    for encoding, zeros in (("utf-16-le", content[1:64:2]), ("utf-16-be", content[0:64:2])):
        if zeros and not any(zeros):
            return content.decode(encoding, errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def find_file(folder: Path, text: str, endings: Sequence[str] = ()) -> Path | None:
    """The file or folder that a path means, also one of Windows, or of another normal form.

    Parameters
    ----------
    folder : Path
        That relative paths begin at.
    text : str
        The path, as a table has it.
    endings : sequence of str
        That may be missing in it, such as ``".tif"``.
    """
    spellings = [text, unicodedata.normalize("NFD", text)]
    if "\\" in text:
        spellings += [PureWindowsPath(spelling).as_posix() for spelling in spellings]
    for spelling in spellings:
        path = folder / spelling
        for candidate in (path, *(path.with_name(path.stem + ending) for ending in endings)):
            if candidate.exists():
                return candidate
    return None


def without_repeats(pairs: Sequence[P], files: Callable[[P], tuple[Path, ...]]) -> list[P]:
    """The pairs, with an image that is stored in several files there once.

    Parameters
    ----------
    pairs : sequence
        That can be compared; equal ones are of the same image.
    files : callable
        The files of a pair, each as `Table.file` gives it: the one that stands for an image.
    """
    kept: list[P] = []
    for pair in pairs:
        if pair not in kept or all(len(files_of(path)) == 1 for path in files(pair)):
            kept.append(pair)
    return kept


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """What images are called: their files' stems, with as many folders as tell them apart.

    Examples
    --------
    >>> distinct_names([Path("day1/a.tif"), Path("day2/a.tif"), Path("day2/b.tif")])
    ['day1/a', 'day2/a', 'b']
    """
    names = [path.stem for path in paths]
    for depth in range(1, max((len(path.parts) for path in paths), default=1)):
        named = {(name.casefold(), path) for name, path in zip(names, paths, strict=True)}
        counts = Counter(name for name, _ in named)
        twice = {name for name, count in counts.items() if count > 1}
        if not twice:
            break
        names = [
            "/".join((*path.parts[-1 - depth : -1], path.stem))
            if name.casefold() in twice
            else name
            for name, path in zip(names, paths, strict=True)
        ]
    return names


def partners(sources: Path, targets: Path, *, both: bool) -> list[tuple[Path, Path]]:
    """The images of a folder with those of another one that have the same names.

    A partner may be of another format: then names without suffixes are the same.

    Parameters
    ----------
    sources, targets : Path
    both : bool
        Whether all targets have to have a partner, too.

    Raises
    ------
    GvtzooError
        When an image has none.
    """
    first, second = find_images(sources), find_images(targets)
    by_name = {path.name: path for path in second}
    if not {path.name for path in first} <= by_name.keys():
        by_stem = _by_stem(second)
        if len(by_stem) == len(second) and len(_by_stem(first)) == len(first):
            by_name |= {path.name: by_stem[path.stem] for path in first if path.stem in by_stem}
    lonely = [path for path in first if path.name not in by_name]
    found = [(path, by_name[path.name]) for path in first if path.name in by_name]
    others = sorted(set(second) - {target for _, target in found}) if both else []
    for path, elsewhere in [(path, targets) for path in lonely] + [(p, sources) for p in others]:
        raise GvtzooError(
            f"{path} has no partner in {elsewhere.name}/ ({len(lonely) + len(others)} such files): "
            "give both the same name"
        )
    return found


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    return {path.stem: path for path in paths}
