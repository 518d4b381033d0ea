"""What an image file holds, before its axes are settled and a channel is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Content:
    """What an image file holds.

    Attributes
    ----------
    array : array-like
        With a shape and a dtype; an ndarray, or one of which only boxes are read
        (`gvtzoo.images.lazy`).
    axes : str or None
        One of ``tpczyx`` per axis; None when the file does not tell.
    stated_axes : str
        The file's own letters, where they are not all among ``tpczyx``.
    pixel_size : dict of str to float
        Of z, y, x in `unit`, of t in seconds, as far as the file tells.
    unit : str
        As in `gvtzoo.images.calibration`.
    channels : list of str
        Their names, or nothing.
    origin : dict of str to float
        Where the first voxel's centre lies, as `gvtzoo.images.lazy.LazyImage` has it.
    """

    array: Any
    axes: str | None = None
    stated_axes: str = ""
    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    channels: list[str] = field(default_factory=list)
    origin: dict[str, float] = field(default_factory=dict)
