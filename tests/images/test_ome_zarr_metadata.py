"""Calibration of OME-Zarr as programs write it: it goes in and comes out."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from ome_zarr_files import multiscale, write

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import open_image, read_image, write_image

IMAGE = np.arange(4 * 6 * 8, dtype="u2").reshape(4, 6, 8)
SCALE = {"type": "scale", "scale": [0.5, 0.25, 0.25]}
MICROMETERS = dict.fromkeys("zyx", "micrometer")


def placed(path):
    """Voxel sizes and the first voxel's place, as a viewer sees them."""
    import zarr

    attributes = dict(zarr.open_group(path, mode="r").attrs)
    found = attributes.get("ome", attributes)["multiscales"][0]
    scale, shift = np.ones(3), np.zeros(3)
    for steps in (found["datasets"][0]["coordinateTransformations"],
                  found.get("coordinateTransformations") or []):  # fmt: skip
        for step in steps:
            if step["type"] == "scale":
                scale, shift = scale * step["scale"], shift * step["scale"]
            else:
                shift = shift + step["translation"]
    units = [axis.get("unit") for axis in found["axes"]]
    return list(scale), list(shift), units


CASES = {
    "no unit": (multiscale("zyx", levels=[[SCALE]]), [0.5, 0.25, 0.25], [0, 0, 0], None),
    "pixels": (
        multiscale(
            "zyx",
            units=dict.fromkeys("zyx", "pixel"),
            levels=[[{"type": "scale", "scale": [2.0, 1.0, 1.0]}]],
        ),
        [2, 1, 1],
        [0, 0, 0],
        None,
    ),
    "translated": (
        multiscale(
            "zyx",
            units=MICROMETERS,
            levels=[[SCALE, {"type": "translation", "translation": [3.0, 100.0, 200.0]}]],
        ),
        [0.5, 0.25, 0.25],
        [3, 100, 200],
        "micrometer",
    ),
    "translated without scale and unit": (
        multiscale(
            "zyx",
            levels=[
                [
                    {"type": "scale", "scale": [1.0, 1.0, 1.0]},
                    {"type": "translation", "translation": [3.0, 0.0, -7.5]},
                ]
            ],
        ),
        [1, 1, 1],
        [3, 0, -7.5],
        None,
    ),
    "two levels": (
        multiscale(
            "zyx",
            units=dict.fromkeys("zyx", "nanometer"),
            levels=[
                [
                    {"type": "scale", "scale": [1, 1, 1]},
                    {"type": "translation", "translation": [1, 2, 3]},
                ]
            ],
            whole=[
                {"type": "scale", "scale": [500, 250, 250]},
                {"type": "translation", "translation": [0, 10, 0]},
            ],
        ),
        [500, 250, 250],
        [500, 510, 750],
        "nanometer",
    ),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_output_overlays_the_input(tmp_path, kind, version):
    described, scale, shift, unit = CASES[kind]
    path = write(tmp_path / "in.zarr", IMAGE, described, version)
    np.testing.assert_allclose(placed(path)[:2], [scale, shift])
    write_image(tmp_path / "out.zarr", read_image(path))
    found_scale, found_shift, units = placed(tmp_path / "out.zarr")
    np.testing.assert_allclose([found_scale, found_shift], [scale, shift])
    assert set(units) == {unit}


def test_axes_in_several_units_are_brought_to_one(tmp_path):
    described = multiscale(
        "zyx",
        units={"z": "micrometer", "y": "nanometer", "x": "nanometer"},
        levels=[
            [
                {"type": "scale", "scale": [0.5, 250, 250]},
                {"type": "translation", "translation": [3, 1000, 0]},
            ]
        ],
    )
    image = open_image(write(tmp_path / "a.zarr", IMAGE, described))
    assert image.pixel_size == pytest.approx({"z": 0.5, "y": 0.25, "x": 0.25})
    assert image.origin == pytest.approx({"z": 3, "y": 1})
    assert image.unit == "micrometer"


def test_an_axis_without_unit_has_that_of_the_others(tmp_path, caplog):
    described = multiscale("zyx", units={"y": "micrometer", "x": "micrometer"}, levels=[[SCALE]])
    image = open_image(write(tmp_path / "a.zarr", IMAGE, described))
    assert image.pixel_size == {"z": 0.5, "y": 0.25, "x": 0.25}
    assert "states no unit along z: micrometer is taken" in caplog.text


def test_times_are_in_seconds(tmp_path, caplog):
    levels = [[{"type": "scale", "scale": [1.5, 1, 1]}]]
    described = multiscale("tyx", units={"t": "minute"}, levels=levels)
    assert open_image(write(tmp_path / "a.zarr", IMAGE, described)).pixel_size == {"t": 90}
    described = multiscale("tyx", levels=levels)
    assert open_image(write(tmp_path / "b.zarr", IMAGE, described)).pixel_size == {"t": 1.5}
    assert "taken for seconds" in caplog.text


BAD = {
    "a size of zero": [{"type": "scale", "scale": [0.0, 0.25, 0.25]}],
    "no number": [{"type": "scale", "scale": [None, 0.25, 0.25]}],
    "too few": [{"type": "scale", "scale": [0.25, 0.25]}],
    "unknown": [{"type": "affine", "affine": [[1, 0], [0, 1]]}],
    "an array": [{"type": "scale", "path": "scales"}],
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_calibration_costs_a_warning_not_the_image(tmp_path, caplog, kind):
    described = multiscale("zyx", units=MICROMETERS, levels=[BAD[kind]])
    with caplog.at_level(logging.WARNING):
        image = read_image(write(tmp_path / "a.zarr", IMAGE, described))
    np.testing.assert_array_equal(image, IMAGE)
    assert len(caplog.records) == 1
    assert "a.zarr" in caplog.text


def test_version_6_with_coordinate_systems(tmp_path):
    axes = multiscale("zyx", units=MICROMETERS)["axes"]
    steps = [SCALE, {"type": "translation", "translation": [1, 2, 3]}]
    described = {
        "coordinateSystems": [{"name": "physical", "axes": axes}],
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [
                    {
                        "type": "sequence",
                        "input": {"path": "0"},
                        "output": {"name": "physical"},
                        "transformations": steps,
                    }
                ],
            },
            {
                "path": "1",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [0.5, 0.5, 0.5], "input": "1", "output": "physical"}
                ],
            },
        ],
    }
    path = write(tmp_path / "a.zarr", [IMAGE, IMAGE[:, ::2, ::2]], described, "0.6")
    image = open_image(path)
    assert (image.dims, image.unit) == (("z", "y", "x"), "micrometer")
    assert image.pixel_size == {"z": 0.5, "y": 0.25, "x": 0.25}
    assert image.origin == {"z": 1, "y": 2, "x": 3}
    np.testing.assert_array_equal(read_image(path), IMAGE)


def test_levels(tmp_path):
    from gvtzoo.images.ome_zarr import open_ome_zarr

    levels = [
        [SCALE],
        [
            {"type": "scale", "scale": [0.5, 0.5, 0.5]},
            {"type": "translation", "translation": [0, 0.125, 0.125]},
        ],
    ]
    described = multiscale("zyx", units=MICROMETERS, levels=levels)
    path = write(tmp_path / "a.zarr", [IMAGE, IMAGE[:, ::2, ::2]], described)
    image = open_ome_zarr(path, level=1)
    np.testing.assert_array_equal(image.load(), IMAGE[:, ::2, ::2])
    assert image.pixel_size == {"z": 0.5, "y": 0.5, "x": 0.5}
    assert image.origin == {"y": 0.125, "x": 0.125}
    with pytest.raises(GvtzooError, match="has no level 2, it has 2, from 0, the finest"):
        open_ome_zarr(path, level=2)
