"""Which files a training reads: folders, CSV files, and a recipe's own lists."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import recipes_folder
from gvtzoo.images.files import find_images

if TYPE_CHECKING:
    from gvtzoo.recipes.recipe import DataConfig

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

ALLEN_COLUMNS = ("path_czi", "channel_signal", "channel_target")
# Conversions of an Allen CZI file that are taken in its place.
CONVERTED = (".ome.tif", ".ome.tiff", ".tif", ".tiff")


@dataclass(frozen=True)
class Pair:
    """Files of a source image and its target, which may be two channels of one file."""

    source: Path
    target: Path
    channel: int | str | None = None
    target_channel: int | str | None = None


def find_pairs(folder: str | Path, split: Split, data: DataConfig) -> list[Pair]:
    """Source and target files of one split; those of an unsplit folder are all ``train``.

    Parameters
    ----------
    folder : path
        ``source/`` and ``target/`` with the same file names, optionally below ``train/``,
        ``val/`` and ``test/``; or a CSV file with columns ``source``, ``target`` and optionally
        ``split``, ``channel`` and ``target_channel``, or the Allen Institute's ``path_czi``,
        ``channel_signal`` and ``channel_target``; or the folder that the lists of the recipe
        (``data.files``) are about.
    split : {"train", "val", "test"}
    data : DataConfig

    Raises
    ------
    GvtzooError
        When files are missing or have no partner.
    """
    folder = Path(folder)
    if folder.suffix == ".csv":
        return _pairs_of_csv(folder, folder.parent, split, data)
    if not folder.is_dir():
        raise GvtzooError(f"no data folder at {folder}: it needs source/ and target/, or a CSV")
    divided = any((folder / name / "source").is_dir() for name in SPLITS)
    # A recipe's lists are about its own data set; users have other files.
    if data.files is not None and (not divided or _has_listed(folder, data)):
        return _pairs_of_list(folder, split, data)
    if divided:
        return _pairs_of_folder(folder / split, data)
    return _pairs_of_folder(folder, data) if split == "train" else []


def _pairs_of_folder(root: Path, data: DataConfig) -> list[Pair]:
    if not root.is_dir():
        return []
    names = ("source", data.target_folder)
    for name in names:
        if not (root / name).is_dir():
            raise GvtzooError(f"{root} has no folder {name}/: put the {name} images there")
    sources, targets = ({path.name: path for path in find_images(root / name)} for name in names)
    lonely = sorted(set(sources) ^ set(targets))
    if lonely:
        where = data.target_folder if lonely[0] in sources else "source"
        raise GvtzooError(
            f"{root}: {lonely[0]} has no partner in {where}/ ({len(lonely)} such files)"
        )
    return [_pair(sources[name], targets[name], data) for name in sorted(sources)]


def _has_listed(folder: Path, data: DataConfig) -> bool:
    """Whether the folder holds the first image of the recipe's lists."""
    for name in (data.files or {}).values():
        with _list(folder, name).open(newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file), {})
        listed = row.get("source") or row.get("path_czi") or ""
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
    return _pairs_of_csv(_list(folder, name), folder, split, data)


def _pairs_of_csv(path: Path, folder: Path, split: Split, data: DataConfig) -> list[Pair]:
    """Rows of a CSV file whose paths are relative to `folder`."""
    if not path.is_file():
        raise GvtzooError(f"there is no file {path}")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = set(rows[0] if rows else ())
    listed = [row for row in rows if (row.get("split") or split) == split]
    if "split" not in columns and data.files is None and split != "train":
        return []
    if "path_czi" in columns:
        return [_allen_pair(row, folder, data) for row in listed]
    missing = {"source", "target"} - columns
    if missing:
        raise GvtzooError(f"{path} lacks the column {min(missing)!r}: it needs source,target")
    return [
        _pair(
            _existing(folder / row["source"]),
            _existing(folder / row["target"]),
            data,
            row.get("channel"),
            row.get("target_channel"),
        )
        for row in listed
    ]


def _allen_pair(row: Mapping[str, str], folder: Path, data: DataConfig) -> Pair:
    path = _existing(folder / row["path_czi"])
    return _pair(path, path, data, row.get("channel_signal"), row.get("channel_target"))


def _pair(
    source: Path,
    target: Path,
    data: DataConfig,
    channel: str | None = None,
    target_channel: str | None = None,
) -> Pair:
    """Channels of the list where it names them, else the recipe's."""
    return Pair(source, target, channel or data.channel, target_channel or data.target_channel)


def _existing(path: Path) -> Path:
    """The file, or its conversion to TIFF.

    Raises
    ------
    GvtzooError
    """
    candidates = [path, *(path.with_name(path.stem + suffix) for suffix in CONVERTED)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise GvtzooError(
        f"there is no file {path}: download the data, or name the folder that its paths start from"
    )
