"""OME-Zarr images as other programs write them, by zarr itself and not by gvtzoo."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr

KINDS = {"t": "time", "c": "channel"}


def multiscale(
    dims: str,
    *,
    units: dict[str, str] | None = None,
    levels: list[list[dict[str, Any]]] | None = None,
    whole: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Metadata of versions 0.4 and 0.5; `levels` are the transformations of each."""
    axes = [{"name": axis, "type": KINDS.get(axis, "space")} for axis in dims]
    for axis in axes:
        if axis["name"] in (units or {}):
            axis["unit"] = units[axis["name"]]
    levels = levels or [[{"type": "scale", "scale": [1.0] * len(dims)}]]
    found: dict[str, Any] = {
        "axes": axes,
        "datasets": [
            {"path": str(number), "coordinateTransformations": steps}
            for number, steps in enumerate(levels)
        ],
    }
    if whole:
        found["coordinateTransformations"] = whole
    return found


def write(
    path: Path, arrays: np.ndarray | list[np.ndarray], described: dict[str, Any], version="0.4"
) -> Path:
    """An image of one array a level."""
    arrays = [arrays] if isinstance(arrays, np.ndarray) else arrays
    attributes = (
        {"multiscales": [{**described, "version": "0.4"}]}
        if version == "0.4"
        else {"ome": {"version": version, "multiscales": [described]}}
    )
    group = zarr.create_group(path, zarr_format=2 if version == "0.4" else 3, attributes=attributes)
    for number, array in enumerate(arrays):
        group.create_array(
            str(number), data=array, chunks=tuple(min(8, size) for size in array.shape)
        )
    return path


def write_plate(
    path: Path, wells: dict[str, list[np.ndarray]], version: str = "0.4", dims: str = "yx"
) -> Path:
    """A plate with fields in each well, such as ``{"A/1": [field, field]}``."""
    rows = sorted({well.split("/")[0] for well in wells})
    columns = sorted({well.split("/")[1] for well in wells})
    plate = {
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {
                "path": well,
                "rowIndex": rows.index(well.split("/")[0]),
                "columnIndex": columns.index(well.split("/")[1]),
            }
            for well in wells
        ],
    }
    _group(path, {"plate": plate}, version)
    for well, fields in wells.items():
        _group(path / well, {"well": {"images": [{"path": str(n)} for n in range(len(fields))]}},
               version)  # fmt: skip
        for number, field in enumerate(fields):
            write(path / well / str(number), field, multiscale(dims), version)
    return path


def _group(path: Path, content: dict[str, Any], version: str) -> None:
    attributes = content if version == "0.4" else {"ome": {"version": version, **content}}
    zarr.create_group(path, zarr_format=2 if version == "0.4" else 3, attributes=attributes)


def zipped(folder: Path, path: Path, *, below: str = "") -> Path:
    """A folder as a zip file, its content at the root or in a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{below}{file.relative_to(folder).as_posix()}")
    return path
