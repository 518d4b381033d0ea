"""``gvtzoo predict`` as a user types it: files in, files out, errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from command_line import invoke
from ome_zarr_files import write_plate, zipped
from typer.testing import CliRunner

from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.files import read_image

GOLDEN = Path(__file__).parent.parent / "golden" / "denoise"


@pytest.fixture(scope="module")
def package(imported) -> Path:
    return imported["denoise"]


@pytest.fixture
def stack(tmp_path) -> Path:
    path = tmp_path / "stack.tif"
    image = np.load(GOLDEN / "pipeline.npz")["image"]
    metadata = {"axes": "ZYX", "spacing": 0.5, "unit": "um"}
    tifffile.imwrite(path, image, imagej=True, metadata=metadata, resolution=(5, 5))
    return path


def told(done: Result) -> list[str]:
    """The lines that a failing command says, the error at its end included."""
    assert done.exit_code == 1
    error = done.exception if isinstance(done.exception, GvtzooError) else ""
    return f"{done.stderr}{error}".splitlines()


def test_prediction_agrees_with_the_reference(package, stack, tmp_path):
    output = tmp_path / "out.tif"
    command = ["predict", package, stack, "-o", output, "--uncertainty", "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-m", "gvtzoo", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # On a busy computer there are lines of progress.
    said = [line for line in done.stderr.splitlines() if not line.endswith("%")]
    assert (done.returncode, said) == (0, [])
    assert done.stdout.splitlines() == [str(output)]
    expected = np.load(GOLDEN / "pipeline.npz")["prediction"]
    written = read_image(output)
    assert np.abs(written.to_numpy() - expected).max() <= 1e-4 * np.ptp(expected)
    assert written.dims == ("z", "y", "x")
    assert written.attrs["pixel_size"] == pytest.approx({"z": 0.5, "y": 0.2, "x": 0.2})
    assert written.attrs["unit"] == "micrometer"
    assert (read_image(tmp_path / "out_sigma.tif").to_numpy() > 0).all()


def test_one_failing_image_does_not_stop_the_others(package, stack, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(stack.read_bytes()[:2000])
    output = tmp_path / "out"
    done = invoke("predict", package, broken, stack, tmp_path / "missing.tif", "-o", output)
    assert sorted(path.name for path in output.iterdir()) == ["stack.tif"]
    lines = told(done)
    assert len(lines) == 3
    assert "broken.tif" in lines[0]
    assert "missing.tif" in lines[1]
    assert "2 of 3 images failed" in lines[2]


def test_a_folder_is_predicted_into_a_folder(package, stack, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.tif").write_bytes(stack.read_bytes())
    np.save(tmp_path / "in" / "c.npy", tifffile.imread(stack))
    done = invoke("predict", package, tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.tif", "b.tif", "c.tif"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{stack}", "-o", "{stack}"], "would replace the input"),
        (["{stack}", "-o", "{existing}"], "exists: choose another name or pass --overwrite"),
        (["{stack}", "-o", "out.jpg"], ".jpg is not a format that can be written"),
        (["{stack}", "{existing}", "-o", "out.tif"], "is one file, but there are 2 images"),
        (["{stack}", "-o", "out.tif", "--axes", "YX"], "3 axes"),
        (["{stack}", "-o", "out.tif", "--channel", "3"], "channel"),
        (["{stack}", "-o", "out.tif", "--device", "cuda:9"], "CUDA"),
    ],
)
def test_mistakes_end_in_one_line(package, stack, tmp_path, arguments, message):
    existing = tmp_path / "existing.tif"
    existing.write_bytes(stack.read_bytes())
    names = {"stack": stack, "existing": existing}
    done = invoke(
        "predict",
        package,
        *(str(tmp_path / a) if a[:3] == "out" else a.format(**names) for a in arguments),
    )
    (line,) = told(done)
    assert message in line
    assert existing.read_bytes() == stack.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["predict", "model", "image.tif"],
        ["predict", "model", "image.tif", "-o", "out.tif", "--tiling", "sideways"],
        ["predict", "model", "image.tif", "-o", "out.tif", "--memory", "much"],
        ["predict", "model", "image.tif", "-o", "out.tif", "--block", "large"],
        ["import-tf", "checkpoint", "-o", "model.zip"],
        ["dance"],
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    assert invoke(*arguments).exit_code == 2


def test_unknown_models_are_suggested(tmp_path, stack):
    done = invoke("predict", "gvtnet-denoising-nucleus", stack, "-o", tmp_path / "out.tif")
    assert "did you mean gvtnet-denoising-nuclei?" in told(done)[-1]


def test_help_does_not_import_torch():
    code = (
        "import sys; sys.argv = ['gvtzoo', '--help']\n"
        "from gvtzoo.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'bioimageio', 'lightning', 'matplotlib', 'skimage', 'xarray', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "predict" in done.stdout


def test_version():
    import gvtzoo

    assert invoke("--version").stdout.strip() == f"gvtzoo {gvtzoo.__version__}"


def test_a_plate_is_predicted_image_by_image(package, tmp_path):
    """Or one of its images by the path, in a zip file as in a folder."""
    image = np.load(GOLDEN / "pipeline.npz")["image"]
    plate = write_plate(tmp_path / "plate.zarr", {"A/1": [image], "B/2": [image]}, dims="zyx")
    done = invoke("predict", package, plate, "-o", tmp_path / "out", "--device", "cpu")
    assert done.exit_code == 0, done.output
    names = ["plate_A_1_0.zarr", "plate_B_2_0.zarr"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    first, second = (read_image(tmp_path / "out" / name) for name in names)
    np.testing.assert_array_equal(first, second)
    archive = zipped(plate, tmp_path / "plate.ozx")
    done = invoke("predict", package, archive / "B/2/0", "-o", tmp_path / "one.zarr")
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(read_image(tmp_path / "one.zarr"), second)
    done = invoke("predict", package, plate, "-o", tmp_path / "all.zarr")
    assert "is one file, but there are 2 images" in str(done.exception)


def test_a_set_of_files_in_a_folder_is_predicted_once(tmp_path):
    from ome_sets import write_set

    from gvtzoo.cli.predict import plan

    folder = tmp_path / "set"
    folder.mkdir()
    files = write_set(folder, companion=True)
    assert plan([folder], tmp_path / "out") == [(files[0], tmp_path / "out" / files[0].name)]


def test_a_channel_a_series_and_a_level_are_chosen(package, tmp_path):
    image = np.load(GOLDEN / "pipeline.npz")["image"]
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for number in range(2):
            metadata = {"axes": "CZYX", "Name": f"pos{number}"}
            both = np.stack([image // 2, image + number])
            writer.write(both, subifds=1, metadata=metadata, photometric="minisblack")
            coarse = both[..., ::2, ::2].copy()
            writer.write(coarse, subfiletype=1, metadata=None, photometric="minisblack")
    chosen = ("--channel", 1, "--series", "pos1")
    outputs = tmp_path / "out.ome.tif", tmp_path / "coarse.tif"
    common = ("predict", package, tmp_path / "a.ome.tif", "--device", "cpu", *chosen)
    for output, level in zip(outputs, (0, 1), strict=True):
        done = invoke(*common, "--level", level, "-o", output)
        assert done.exit_code == 0, done.output
    expected = np.load(GOLDEN / "pipeline.npz")["prediction"] + 1
    found = read_image(outputs[0]).to_numpy()
    assert np.abs(found - expected).max() <= 1e-3 * np.ptp(expected)
    assert read_image(outputs[1]).shape == image[:, ::2, ::2].shape
    with tifffile.TiffFile(outputs[0]) as tiff:
        assert tiff.is_ome
    refused = invoke(*common, "--level", 2, "-o", tmp_path / "no.tif")
    assert refused.exit_code == 1
    assert refused.output.count("a.ome.tif") == 1
    assert "there is no level 2, its levels are: 0 " in refused.output


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(tmp_path):
    image = tmp_path / "stack.npy"
    np.save(image, np.random.default_rng(0).poisson(20, (8, 24, 24)).astype(np.uint16))
    arguments = ["predict", "gvtnet-denoising-nuclei", str(image), "-o", str(tmp_path / "out.tif")]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu", "--dry-run"])
    assert result.exit_code == 0, result.output
    for word in ("how: at once", "time: about", "memory: about", "disk: about"):
        assert f"{image}: {word}" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stack.npy"]
