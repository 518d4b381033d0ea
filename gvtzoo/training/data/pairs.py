"""Which files a training reads: folders, lists of pairs, and a recipe's own lists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import recipes_folder
from gvtzoo.images.pair_lists import (
    Row,
    Table,
    distinct_names,
    is_table,
    partners,
    read_table,
    without_repeats,
)

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import DataConfig

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

# Conversions of an Allen CZI file that are taken in its place.
CONVERTED = (".ome.tif", ".ome.tiff", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """Files of a source image and its target, which may be two channels of one file.

    `name` is the image's, where it is not that of the source's file.
    """

    source: Path
    target: Path
    channel: int | str | None = None
    target_channel: int | str | None = None
    name: str = ""


def training_pairs(folder: str | Path, split: Split, data: DataConfig) -> list[Pair]:
    """Source and target files of one split; those of an unsplit folder are all ``train``.

    Parameters
    ----------
    folder : path
        ``source/`` and ``target/`` with the same file names, optionally below ``train/``,
        ``val/`` and ``test/``; or a table (`gvtzoo.images.pair_lists`) with columns ``source``,
        ``target`` and optionally ``split``, ``channel`` and ``target_channel``, or the Allen
        Institute's ``path_czi``, ``channel_signal`` and ``channel_target``; or the folder that the
        lists of the recipe (``data.files``) are about.
    split : {"train", "val", "test"}
    data : DataConfig

    Raises
    ------
    GvtzooError
        When files are missing or have no partner.
    """
    return _named(_find(Path(folder), split, data))


def _named(pairs: list[Pair]) -> list[Pair]:
    """The pairs with names of their own, where files of several folders are called the same."""
    names = distinct_names([pair.source for pair in pairs])
    return [
        pair if name == pair.source.stem else replace(pair, name=name)
        for name, pair in zip(names, pairs, strict=True)
    ]


def _find(folder: Path, split: Split, data: DataConfig) -> list[Pair]:
    if is_table(folder):
        return _pairs_of_table(read_table(folder), folder.parent, split, data)
    if not folder.is_dir():
        raise GvtzooError(f"no data folder at {folder}: it needs source/ and target/, or a CSV")
    divided = any((folder / name / "source").is_dir() for name in SPLITS)
    own = divided or (folder / "source").is_dir()
    # A recipe's lists are about its own data set; users have other files.
    if data.files is not None and (not own or _has_listed(folder, data)):
        return _pairs_of_list(folder, split, data)
    if divided:
        return _pairs_of_folder(folder / split, data)
    return _pairs_of_folder(folder, data) if split == "train" else []


def has_own_pairs(folder: str | Path, data: DataConfig) -> bool:
    """Whether a data folder or table is the user's, not the set that a recipe lists."""
    folder = Path(folder)
    return is_table(folder) or data.files is None or not _has_listed(folder, data)


def _pairs_of_folder(root: Path, data: DataConfig) -> list[Pair]:
    if not root.is_dir():
        return []
    names = ("source", data.target_folder)
    for name in names:
        if not (root / name).is_dir():
            raise GvtzooError(f"{root} has no folder {name}/: put the {name} images there")
    found = partners(*(root / name for name in names), both=True)
    return [_pair(source, target, data) for source, target in found]


def _has_listed(folder: Path, data: DataConfig) -> bool:
    """Whether the folder holds the first image of the recipe's lists."""
    for name in (data.files or {}).values():
        rows = read_table(_list(folder, name)).rows
        listed = (rows[0]["source"] or rows[0]["path_czi"]) if rows else ""
        return (folder / listed).is_file()
    return False


def _list(folder: Path, name: str) -> Path:
    """A recipe's list, in the data folder or beside the recipes.

    Raises
    ------
    GvtzooError
    """
    for path in (folder / name, recipes_folder() / name):
        if path.is_file():
            return path
    raise GvtzooError(f"there is no list {name}, neither in {folder} nor beside the recipes")


def _pairs_of_list(folder: Path, split: Split, data: DataConfig) -> list[Pair]:
    """Of the recipe's list of a split; there may be none."""
    name = (data.files or {}).get(split)
    if name is None:
        return []
    return _pairs_of_table(read_table(_list(folder, name)), folder, split, data)


def _pairs_of_table(table: Table, folder: Path, split: Split, data: DataConfig) -> list[Pair]:
    """Rows of a table whose paths are relative to `folder`."""
    if "split" not in table.columns and data.files is None and split != "train":
        return []
    listed = [row for row in table.rows if (row["split"].lower() or split) == split]
    if "path_czi" in table.columns:
        return [_allen_pair(table, row, folder, data) for row in listed]
    table.require("source", "target")
    pairs = [
        _pair(
            table.file(row, "source", folder, CONVERTED),
            table.file(row, "target", folder, CONVERTED),
            data,
            row["channel"],
            row["target_channel"],
        )
        for row in listed
    ]
    return without_repeats(pairs, lambda pair: (pair.source, pair.target))


def _allen_pair(table: Table, row: Row, folder: Path, data: DataConfig) -> Pair:
    path = table.file(row, "path_czi", folder, CONVERTED)
    return _pair(path, path, data, row["channel_signal"], row["channel_target"])


def _pair(
    source: Path, target: Path, data: DataConfig, channel: str = "", target_channel: str = ""
) -> Pair:
    """Channels of the list where it names them, else the recipe's."""
    return Pair(
        source,
        target,
        data.channel if channel == "" else channel,
        data.target_channel if target_channel == "" else target_channel,
    )
