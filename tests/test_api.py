"""The public API as a stranger uses it: every name of `gvtzoo`, on small data."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_package
import tifffile
import xarray as xr
import yaml

import gvtzoo
from gvtzoo.recipes.recipe import Recipe, TrainingConfig

QUICK = ["training.patch=[16, 16]", "training.batch_size=2", "training.steps=4"]
FUNCTIONS = [name for name in gvtzoo.__all__ if inspect.isfunction(getattr(gvtzoo, name))]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "package"
    return small_package.write_folder(folder, small_package.members())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Four planes of waves, with and without noise."""
    folder, generator = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    for kind in ("source", "target"):
        (folder / kind).mkdir()
    for number in range(4):
        clean = 200 + 100 * np.sin(y / 4 + number) * np.cos(x / 5)
        for kind, image in (("source", generator.poisson(clean)), ("target", clean)):
            tifffile.imwrite(folder / kind / f"{number}.tif", image.astype(np.uint16), imagej=True)
    return folder


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe(
        name="test/waves",
        task="denoising",
        network=small_package.NETWORK,
        training=TrainingConfig(patch=(16, 16), validate_every=2),
    )
    (folder / "waves.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return gvtzoo.train(folder / "waves.yaml", pairs, folder / "run", settings=QUICK, device="cpu")


def test_names_are_there_without_pytorch():
    code = (
        "import gvtzoo, sys; assert {*gvtzoo.__all__} <= {*dir(gvtzoo)}; "
        "assert not {'torch', 'numpy', 'pydantic'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(gvtzoo, name) is not None for name in gvtzoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lood'"):
        _ = gvtzoo.lood


def test_type_checkers_see_what_runs():
    """What is imported for them is what `__getattr__` finds."""
    source = Path(gvtzoo.__file__).read_text(encoding="utf-8")
    block = source.partition("if TYPE_CHECKING:")[2].partition("__all__")[0]
    shown = {
        name: module
        for module, names in re.findall(r"from (gvtzoo\.\S+) import (.+)", block)
        for name in names.split(", ")
    }
    assert {*shown, "GvtzooError", "__version__", "networks"} == {*gvtzoo.__all__}
    for name, module in shown.items():
        assert getattr(gvtzoo, name) is getattr(importlib.import_module(module), name)
    assert (Path(gvtzoo.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_has_a_type(name):
    signature = inspect.signature(getattr(gvtzoo, name))
    untyped = [key for key, one in signature.parameters.items() if one.annotation is one.empty]
    assert not untyped
    assert signature.return_annotation is not signature.empty


def test_models_are_listed_described_and_there():
    names = [one.name for one in gvtzoo.list_models(task="denoising", local=True)]
    assert "gvtnet-denoising-nuclei" in names
    with pytest.raises(gvtzoo.GvtzooError, match="there is no task 'denoise'"):
        gvtzoo.list_models(task="denoise")
    assert gvtzoo.download("gvtnet-denoising-nuclei").is_file()


def test_info_of_a_package_of_a_run_and_of_what_is_not_here(model, run):
    found = gvtzoo.info(model)
    assert "Small model" in str(found)
    assert found.as_dict()["task"] == "denoising"
    assert dict(found.details())["normalization"].startswith("percentile (low 2")
    assert gvtzoo.info(run).as_dict()["recipe"]["name"] == "test/waves"
    assert "to download" in str(gvtzoo.info("gvtnet-label-free-dna"))


def test_a_model_shows_what_it_is(model):
    assert repr(gvtzoo.load(model)) == (
        "<Model small-model: denoising, YX → YX, percentile (low 2, high 99.8), undone in "
        "predictions, 1,685 parameters>"
    )


def test_what_lists_and_descriptions_show_is_one_line_each():
    found = [*gvtzoo.list_models(), gvtzoo.info("gvtnet-denoising-nuclei")]
    for text in map(repr, found):
        assert text.isprintable()
        assert len(text) < 160
    assert repr(found[-1]).startswith("<ModelInfo gvtnet-denoising-nuclei: ")
    assert repr(found[0]).startswith(f"<ListedModel {found[0].name}: ")


def test_a_path_an_array_and_a_data_array_are_the_same_image(model, pairs):
    path = pairs / "source" / "0.tif"
    image = gvtzoo.read_image(path)
    expected = gvtzoo.load(model).predict(image)
    for given, axes in ((path, None), (str(path), None), (image, None), (image.values, "YX")):
        found = gvtzoo.predict(model, given, axes=axes)
        assert isinstance(found, xr.DataArray)
        assert found.dims == ("y", "x")
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gvtzoo.load(model).predict(path), expected)


def test_files_are_written_with_sigma_beside(model, pairs, tmp_path):
    path, output = pairs / "source" / "0.tif", tmp_path / "out.tif"
    written = gvtzoo.predict(model, path, output, uncertainty=True)
    assert written == [output]
    prediction, sigma = gvtzoo.predict(gvtzoo.load(model), path, uncertainty=True)
    np.testing.assert_allclose(gvtzoo.read_image(output), prediction, rtol=1e-6)
    np.testing.assert_allclose(gvtzoo.read_image(tmp_path / "out_sigma.tif"), sigma, rtol=1e-6)
    with pytest.raises(gvtzoo.GvtzooError, match="exists"):
        gvtzoo.predict(model, path, output)
    with pytest.raises(gvtzoo.GvtzooError, match="would replace the input"):
        gvtzoo.predict(model, path, path, overwrite=True)
    with pytest.raises(gvtzoo.GvtzooError, match="are for files"):
        gvtzoo.predict(model, np.ones((8, 8)), channel=0)


def test_a_region_is_a_part(model, pairs):
    path = pairs / "source" / "0.tif"
    part = gvtzoo.predict(model, path, region="8:20,10:40")
    whole = gvtzoo.predict(model, path)
    np.testing.assert_allclose(part, whole[8:20, 10:40], rtol=1e-4)


def test_from_a_training_to_a_package(run, pairs, tmp_path):
    made = gvtzoo.package(
        run, tmp_path / "waves.zip", name="Waves", license="MIT", authors=[{"name": "A. Uthor"}]
    )
    loaded = gvtzoo.load(made)
    assert (loaded.name, loaded.config.metadata.license) == ("waves", "MIT")
    assert loaded.config.metadata.authors[0].name == "A. Uthor"
    again = gvtzoo.package(made, tmp_path / "again.zip")
    image = pairs / "source" / "0.tif"
    np.testing.assert_array_equal(gvtzoo.predict(again, image), gvtzoo.predict(run, image))
    with pytest.raises(gvtzoo.GvtzooError, match="not ready to be published"):
        gvtzoo.publish(made, "ORG/NAME")


def test_a_training_goes_on_by_its_own_recipe(run, pairs):
    again = gvtzoo.train(None, pairs, run, resume=True, device="cpu")
    assert again == run
    with pytest.raises(gvtzoo.GvtzooError, match="name a recipe"):
        gvtzoo.train(None, pairs, run)


def test_fine_tuning(model, pairs, tmp_path):
    settings = [*QUICK, "training.learning_rate=0.01"]
    result = gvtzoo.finetune(model, pairs, tmp_path / "run", settings=settings, device="cpu")
    assert gvtzoo.load(result.run).config.metadata.parent == "small-model"


def test_models_are_evaluated(model, run, pairs, tmp_path):
    models = [f"waves={run}", model]
    found = gvtzoo.evaluate(models, pairs, tmp_path / "report", with_input=True, device="cpu")
    assert found.models == ("waves", "small-model", "input")
    assert (tmp_path / "report" / "index.html").is_file()
    with pytest.raises(gvtzoo.GvtzooError, match="either pairs"):
        gvtzoo.evaluate(model, None, tmp_path / "other")


def test_images_come_back(tmp_path):
    image = xr.DataArray(
        np.arange(24, dtype=np.uint16).reshape(2, 3, 4),
        dims=("z", "y", "x"),
        attrs={"pixel_size": {"z": 0.3, "y": 0.1, "x": 0.1}, "unit": "micrometer"},
    )
    gvtzoo.write_image(tmp_path / "image.ome.tif", image)
    found = gvtzoo.read_image(tmp_path / "image.ome.tif")
    np.testing.assert_array_equal(found, image)
    assert found.attrs["pixel_size"] == pytest.approx(image.attrs["pixel_size"])


def test_a_network_is_saved_for_hugging_face(tmp_path):
    network = gvtzoo.networks.GVTNet(dimensions=2, features=2)
    assert isinstance(network, gvtzoo.GVTNet)
    network.save_pretrained(tmp_path)
    assert gvtzoo.GVTNet.from_pretrained(tmp_path).dimensions == 2


def test_a_model_can_be_asked_for_by_type(model):
    assert isinstance(gvtzoo.load(model), gvtzoo.Model)
    assert re.fullmatch(r"\d+\.\d+.*", gvtzoo.__version__)
