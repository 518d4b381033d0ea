"""Microscopes' own files (CZI, ND2, LIF), by bioio, which ``gvtzoo[formats]`` installs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.calibration import MICROMETER
from gvtzoo.images.content import Content

MICROSCOPE_SUFFIXES = (".czi", ".nd2", ".lif")


def read_microscope_file(path: Path, *, series: int | str | None = None) -> Content:
    """All scenes of a file, or one; axes of length 1 are left out.

    Parameters
    ----------
    path : Path
    series : int or str, optional
        Number (from 0) or name of a scene.

    Raises
    ------
    GvtzooError
        When bioio or its reader of this format is not installed, there is no such scene, or the
        scenes differ in size.
    """
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError as error:
        raise GvtzooError(
            f"reading {path.suffix} needs bioio: pip install 'gvtzoo[formats]', or save the image "
            "as TIFF"
        ) from error
    try:
        image = BioImage(path)
    except UnsupportedFileFormatError as error:
        raise GvtzooError(
            f"bioio has no reader for it: pip install 'gvtzoo[formats]', or bioio-{path.suffix[1:]}"
        ) from error
    scenes = []
    for scene in _chosen([str(name) for name in image.scenes], series):
        image.set_scene(scene)
        scenes.append(np.asarray(image.data))
    if len({scene.shape for scene in scenes}) > 1:
        shapes = ", ".join(str(scene.shape) for scene in scenes)
        raise GvtzooError(f"its scenes differ in size ({shapes}): choose one with --series N")
    array = np.stack(scenes)
    axes = zip("ptczyx", array.shape, strict=True)
    sizes = image.physical_pixel_sizes
    known = {"z": sizes.Z, "y": sizes.Y, "x": sizes.X}
    return Content(
        _squeezed(array),
        "".join(axis for axis, size in axes if _kept(axis, size)),
        pixel_size={axis: float(size) for axis, size in known.items() if size},
        unit=MICROMETER,
        channels=[str(name) for name in image.channel_names or []],
    )


def _chosen(scenes: list[str], wanted: int | str | None) -> list[str]:
    if wanted is None or wanted in scenes:
        return scenes if wanted is None else [str(wanted)]
    if str(wanted).isdigit() and int(wanted) < len(scenes):
        return [scenes[int(wanted)]]
    raise GvtzooError(f"there is no series {wanted}, its scenes are: {', '.join(scenes)}")


def _kept(axis: str, size: int) -> bool:
    return size > 1 or axis in "yx"


def _squeezed(array: np.ndarray) -> np.ndarray:
    """Without axes of length 1, y and x aside."""
    single = [n for n, size in enumerate(array.shape[:-2]) if size == 1]
    return array.squeeze(tuple(single))
