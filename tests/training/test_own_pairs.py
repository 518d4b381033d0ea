"""People's own pairs, in whatever form predict reads: trained on, or told in one line why not."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import small_package
import tifffile
import xarray as xr
from command_line import invoke
from ome_sets_files import write_set
from ome_zarr_files import zipped

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import find_pairs as evaluation_pairs
from gvtzoo.images.files import write_image
from gvtzoo.recipes.recipe import Recipe, load_recipe
from gvtzoo.training.data.patches import load_images

QUICK = ["--set", "training.patch=[16, 16]", "--set", "training.steps=1", "--device", "cpu"]
TINY = {
    "name": "tiny",
    "task": "denoising",
    "network": {
        "dimensions": 2,
        "depth": 2,
        "features": 4,
        "encoder_blocks": [1, 0],
        "downsampling": ["convolution"],
        "upsampling": ["gvto_v2"],
        "decoder_blocks": [1],
        "batch_norm": False,
    },
    "training": {"patch": [16, 16], "steps": 1},
}


def tiny(**changes) -> Recipe:
    return Recipe.model_validate({**TINY, **changes})


@pytest.fixture
def package(tmp_path) -> Path:
    return small_package.write_folder(tmp_path / "package", small_package.members())


def clean(size: int = 48, number: int = 0) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (200 + 100 * np.sin(y / 4 + number) * np.cos(x / 5)).astype(np.float32)


def noisy(image: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).poisson(image).astype(np.uint16)


def save(path: Path, array: np.ndarray, dims: str = "yx", **attributes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, xr.DataArray(array, dims=tuple(dims), attrs=attributes))
    return path


def save_pair(
    folder: Path, source, target, *, name: str = "a.tif", dims=("yx", "yx"), **attributes
):
    save(folder / "source" / name, source, dims[0], **attributes)
    save(folder / "target" / name, target, dims[1])
    return folder


@pytest.mark.parametrize("ending", [".zarr", ".ozx", ".npy", ".npz"])
@pytest.mark.parametrize("listed", [False, True])
def test_everything_that_is_predicted_is_trained_on(package, tmp_path, ending, listed):
    data = tmp_path / "data"
    for number in range(2):
        image = clean(number=number)
        for kind, array in (("source", noisy(image)), ("target", image)):
            suffix = ".zarr" if ending == ".ozx" else ending
            path = save(data / kind / f"im{number}{suffix}", array)
            if ending == ".ozx":
                zipped(path, path.with_suffix(".ozx"))
                for file in sorted(path.rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
                path.rmdir()
    names = [f"source/im{n}{ending},target/im{n}{ending}" for n in range(2)]
    (data / "pairs.csv").write_text("\n".join(["source,target", *names]))
    run = tmp_path / "run"
    done = invoke("finetune", package, "--data", data / "pairs.csv" if listed else data,
                  "-o", run, *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.output
    used = json.loads((run / "data.json").read_text())
    # Of two pairs a whole one is held out.
    assert [len(used[split]["files"]) for split in ("train", "val")] == [2, 2]
    found = [Path(file["path"]).name for split in ("train", "val") for file in used[split]["files"]]
    assert sorted(found) == [f"im{n}{ending}" for n in (0, 0, 1, 1)]


def test_five_images_of_one_name(package, tmp_path):
    """Equal names do not make images equal, nor pairs."""
    rows = ["source,target"]
    for day in range(5):
        folder = tmp_path / f"day{day}"
        save_pair(folder, noisy(clean(number=day)), clean(number=day))
        rows.append(f"day{day}/source/a.tif,day{day}/target/a.tif")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    done = invoke(
        "finetune", package, "--data", tmp_path / "pairs.csv", "-o", tmp_path / "run", *QUICK
    )
    assert done.exit_code == 0, done.output
    images = json.loads((tmp_path / "run" / "data.json").read_text())["train"]["images"]
    assert [image["name"] for image in images] == [f"day{day}/source/a" for day in (0, 1, 2, 4)]


@pytest.mark.parametrize("count", [1, 5])
def test_train_takes_undivided_folders(tmp_path, count):
    data = tmp_path / "data"
    for number in range(count):
        save_pair(data, noisy(clean(number=number)), clean(number=number), name=f"{number}.tif")
    changes = ["network.features=4", "training.batch_size=1", "training.validate_every=1",
               "training.validation=true"]  # fmt: skip
    options = [part for change in changes for part in ("--set", change)]
    done = invoke(
        "train", "denoising/exposures", "--data", data, "-o", tmp_path / "run", *QUICK, *options
    )
    assert done.exit_code == 0, done.output
    used = json.loads((tmp_path / "run" / "data.json").read_text())
    assert {split: content["count"] for split, content in used.items()} == {
        "train": 1 if count == 1 else 4,
        "val": 1,
    }
    assert {Path(file["path"]).parent.parent for file in used["train"]["files"]} == {data}


def test_a_multi_file_image_is_one_image(tmp_path):
    stack = np.random.default_rng(0).integers(0, 2**12, (4, 24, 20), np.uint16)
    for kind in ("source", "target"):
        write_set(tmp_path / kind, stack)
    recipe = tiny(network={**TINY["network"], "dimensions": 3}, training={"patch": [4, 16, 16]})
    (image,) = load_images(tmp_path, "train", recipe)
    np.testing.assert_array_equal(image.raw(np.random.default_rng(0))[0][0], stack)
    assert len(image.files) == 8
    assert len(evaluation_pairs(tmp_path)) == 1
    names = sorted(path.name for path in (tmp_path / "source").iterdir())
    rows = [f"source/{name},target/{name}" for name in names]
    (tmp_path / "pairs.csv").write_text("\n".join(["source,target", *rows]))
    assert len(load_images(tmp_path / "pairs.csv", "train", recipe)) == 1
    assert len(evaluation_pairs(tmp_path / "pairs.csv")) == 1


def test_channels_are_chosen(package, tmp_path):
    image = clean()
    both = np.stack([noisy(image), np.zeros_like(noisy(image))])
    data = save_pair(tmp_path / "data", both, np.stack([both[1], image]), dims=("cyx", "cyx"))
    done = invoke("finetune", package, "--data", data, "-o", tmp_path / "run", *QUICK)
    assert done.exit_code == 1
    told = "source a.tif has 2 channels: choose one with --channel 0 or --channel 1"
    assert str(done.exception) == told
    done = invoke(
        "finetune", package, "--data", data, "-o", tmp_path / "run", *QUICK, "--channel", 0
    )
    assert str(done.exception).endswith("with --target-channel 0 or --target-channel 1")
    assert str(done.exception).startswith("target a.tif")
    done = invoke("finetune", package, "--data", data, "-o", tmp_path / "run", *QUICK,
                  "--channel", 0, "--target-channel", 1)  # fmt: skip
    assert done.exit_code == 0, done.output
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert (recipe.data.channel, recipe.data.target_channel) == (0, 1)


def test_planes_as_channels_of_one_of_several_channels(tmp_path):
    planes = np.random.default_rng(0).integers(0, 99, (2, 3, 24, 20), np.uint16)
    save_pair(tmp_path, planes, clean()[:24, :20], dims=("czyx", "yx"))
    recipe = tiny(
        network={**TINY["network"], "input_channels": 3}, data={"planes_as_channels": True}
    )
    with pytest.raises(GvtzooError, match="2 channels: choose one with --channel 0 or --channel 1"):
        load_images(tmp_path, "train", recipe)
    chosen = recipe.model_copy(update={"data": recipe.data.model_copy(update={"channel": 1})})
    (image,) = load_images(tmp_path, "train", chosen)
    np.testing.assert_array_equal(image.raw(np.random.default_rng(0))[0], planes[1])


REFUSED = {
    "rgb source": (np.zeros((24, 20, 3), "u1") + 7, clean()[:24, :20], "choose one with --channel"),
    "constant target": (clean()[:24, :20], np.full((24, 20), 7, "u2"), "target a: .* constant"),
    "NaN in the target": (clean()[:24, :20], np.full((24, 20), np.nan, "f4"), "target a: .* NaN"),
    "stack and plane": (np.arange(3 * 24 * 20, dtype="u2").reshape(3, 24, 20), clean()[:24, :20],
                        "source a has axes ZYX, the network takes YX"),
    "plane and stack": (clean()[:24, :20], np.arange(3 * 24 * 20, dtype="u2").reshape(3, 24, 20),
                        "target a has axes ZYX, the network takes YX"),
    "sizes": (clean()[:24, :20], clean()[:20, :20], "source .* and target .* differ in size"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_called_source_or_target(tmp_path, kind):
    source, target, message = REFUSED[kind]
    for name, array in (("source", source), ("target", target)):
        (tmp_path / name).mkdir()
        options = {"photometric": "rgb"} if array.shape[-1] == 3 else {"photometric": "minisblack"}
        axes = "YXS" if array.shape[-1] == 3 else "ZYX"[-array.ndim :]
        tifffile.imwrite(tmp_path / name / "a.tif", array, metadata={"axes": axes}, **options)
    with pytest.raises(GvtzooError, match=message):
        load_images(tmp_path, "train", tiny())


def test_voxel_sizes_that_differ_are_named(tmp_path, caplog):
    save_pair(tmp_path, noisy(clean()), clean(), pixel_size={"y": 0.2, "x": 0.2}, unit="micrometer")
    save(tmp_path / "target" / "b.tif", clean(), pixel_size={"y": 900, "x": 900}, unit="nanometer")
    (tmp_path / "target" / "b.tif").replace(tmp_path / "target" / "a.tif")
    with caplog.at_level(logging.WARNING):
        load_images(tmp_path, "train", tiny())
    assert "a: along x the source's voxels measure 0.2 µm and the target's 0.9 µm" in caplog.text
    assert len(caplog.records) == 1
