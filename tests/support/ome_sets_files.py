"""An OME-TIFF in several files, as microscopes write it: each with the OME-XML of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write_set(folder: Path, stack: np.ndarray) -> list[Path]:
    """A stack (z, y, x) of uint16, one file a plane."""
    folder.mkdir(parents=True, exist_ok=True)
    depth, height, width = stack.shape
    names = [f"pos_z{z}.ome.tif" for z in range(depth)]
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">{_uuid(z)}</UUID></TiffData>'
        for z, name in enumerate(names)
    )
    for z, name in enumerate(names):
        xml = (
            f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}" UUID="{_uuid(z)}">'
            f'<Image ID="Image:0" Name="s"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            f'Type="uint16" SizeX="{width}" SizeY="{height}" SizeZ="{depth}" SizeC="1" SizeT="1">'
            f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / name, stack[z], description=xml, metadata=None)
    return [folder / name for name in names]


def _uuid(number: int) -> str:
    return f"urn:uuid:00000000-0000-4000-8000-{number:012d}"
