"""OME-TIFF sets of one plane per file."""

from __future__ import annotations

import numpy as np
import tifffile

OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uuid}">{content}</OME>'
)


def uuid(number):
    return f"urn:uuid:00000000-0000-4000-8000-{number:012d}"


def image_xml(names, size="", name="s"):
    """One Image element with one plane of 6×5 per file."""
    planes = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{file}">{uuid(number)}</UUID></TiffData>'
        for z, (number, file) in enumerate(names.items())
    )
    return (
        f'<Image ID="Image:{name}" Name="{name}"><Pixels ID="Pixels:{name}" DimensionOrder="XYZCT" '
        f'Type="uint16" SizeX="5" SizeY="6" SizeZ="{len(names)}" SizeC="1" SizeT="1" {size}>'
        f'<Channel ID="Channel:{name}" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
    )


def write_plane(path, number, content):
    array = np.full((6, 5), number, np.uint16)
    array[0] = range(5)
    xml = OME.format(uuid=uuid(number), content=content)
    tifffile.imwrite(path, array, description=xml, metadata=None)


def write_set(folder, count=3, *, companion=False, size='PhysicalSizeX="0.1" PhysicalSizeY="0.1"'):
    names = {number: f"pos_z{number}.ome.tif" for number in range(count)}
    content = image_xml(names, size)
    if companion:
        xml = OME.format(uuid=uuid(99), content=content)
        (folder / "pos.companion.ome").write_text(xml, encoding="utf-8")
        content = f'<BinaryOnly MetadataFile="pos.companion.ome" UUID="{uuid(99)}"/>'
    for number, name in names.items():
        write_plane(folder / name, number, content)
    return [folder / name for name in names.values()]
