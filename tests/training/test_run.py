import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from small_package import NETWORK

from gvtzoo import GvtzooError
from gvtzoo.packages.config import PackageConfig, TrainedFile
from gvtzoo.packages.identity import Identity
from gvtzoo.packages.reader import open_package
from gvtzoo.packages.run_folder import inherited, read_run_config, run_network
from gvtzoo.recipes.metadata import Author, DataSource, ModelMetadata
from gvtzoo.recipes.recipe import DataConfig, Recipe, TrainingConfig, load_recipe
from gvtzoo.training.run import package_run, run_metadata

METRICS = [{"data": "blobs", "condition": "dim", "method": "GVTNet", "SSIM": 0.9}]


OWN = ModelMetadata(
    id="tiny-model",
    name="Tiny model",
    description="For tests.",
    license="MIT",
    authors=(Author(name="A. Uthor"),),
    data=(DataSource(name="Blobs", license="CC0-1.0"),),
)


def write_recipe(folder, model=OWN, **changes):
    recipe = Recipe(
        name="test/tiny",
        task="denoising",
        network=NETWORK,
        training=TrainingConfig(patch=(16, 16)),
        model=model,
        **changes,
    )
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return recipe


@pytest.fixture
def run(tmp_path):
    """A run folder as training leaves it."""
    torch.manual_seed(1)
    network = NETWORK.build()
    folder = tmp_path / "run"
    folder.mkdir()
    write_recipe(folder)
    save_file(network.state_dict(), folder / "best.safetensors")
    source = np.random.default_rng(0).integers(90, 900, (1, 75, 70), dtype=np.uint16)
    np.savez(folder / "example.npz", source=source, target=source)
    return folder


def test_package_holds_the_run(run, tmp_path):
    (run / "metrics.json").write_text(json.dumps(METRICS))
    pixel_size = {"pixel_size": {"y": 0.2, "x": 0.2}, "unit": "micrometer"}
    (run / "pixel_size.json").write_text(json.dumps(pixel_size))
    package = open_package(package_run(run, tmp_path / "model.zip"))
    config = package.config
    assert config.metadata.id == "tiny-model"
    assert config.recipe is not None
    assert config.recipe["name"] == "test/tiny"
    assert config.metrics[0].values == {"SSIM": 0.9}
    assert config.pixel_size == {"y": 0.2, "x": 0.2}
    assert "| blobs | dim | GVTNet | 0.9 |" in package.read("README.md").decode()
    assert package.rdf["inputs"][0]["axes"][-1]["scale"] == 0.2
    assert package.test_input().shape == (1, 1, 74, 70)
    source = np.load(run / "example.npz")["source"]
    np.testing.assert_array_equal(package.test_input()[0], source[:, :74])


def test_metrics_and_pixel_size_may_be_missing(run, tmp_path):
    config = open_package(package_run(run, tmp_path / "model.zip")).config
    assert config.metrics == ()
    assert config.pixel_size == {}
    assert config.unit is None


def test_existing_packages_stay(run, tmp_path):
    package_run(run, tmp_path / "model.zip")
    with pytest.raises(GvtzooError, match="exists"):
        package_run(run, tmp_path / "model.zip")
    package_run(run, tmp_path / "model.zip", overwrite=True)


@pytest.mark.parametrize("name", ["recipe.yaml", "best.safetensors", "example.npz"])
def test_missing_files_are_named(run, tmp_path, name):
    (run / name).unlink()
    with pytest.raises(GvtzooError, match=name):
        package_run(run, tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("best.safetensors", b"\0" * 20, "damaged"),
        ("example.npz", b"PK\x03\x04", "source"),
        ("metrics.json", b"{", "not valid JSON"),
        ("metrics.json", b"{}", "a list"),
        ("metrics.json", b'[{"data": "blobs"}]', "method"),
        ("pixel_size.json", b'{"pixel_size": {"t": 1}}', "pixel_size"),
    ],
)
def test_damaged_files_are_named(run, tmp_path, name, content, words):
    (run / name).write_bytes(content)
    with pytest.raises(GvtzooError, match=words) as caught:
        package_run(run, tmp_path / "model.zip")
    assert "\n" not in str(caught.value)


class Evil:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return self.mark.touch, ()


def test_an_example_of_a_stranger_runs_no_code_and_takes_no_memory(run, tmp_path):
    mark = tmp_path / "ran"
    np.savez(run / "example.npz", source=np.array([Evil(mark)], dtype=object))
    with pytest.raises(GvtzooError, match="Python objects"):
        package_run(run, tmp_path / "model.zip")
    assert not mark.exists()
    np.savez_compressed(run / "example.npz", source=np.zeros((1, 2**28 + 1), np.uint8))
    with pytest.raises(GvtzooError, match="unpacks to 268435"):
        package_run(run, tmp_path / "model.zip")


def test_a_network_larger_than_its_weights_is_not_built(run):
    large = NETWORK.model_copy(update={"features": 1024})
    recipe = load_recipe(run / "recipe.yaml").model_copy(update={"network": large})
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    with pytest.raises(GvtzooError, match=r"it has \d+ bytes, \d{8,} are needed"):
        run_network(run, read_run_config(run))


def test_weights_of_another_network_are_refused(run, tmp_path):
    save_file({"other": torch.zeros(1)}, run / "best.safetensors")
    with pytest.raises(GvtzooError, match="does not fit") as caught:
        package_run(run, tmp_path / "model.zip")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["denoising/exposures", "denoising/nuclei", "label_free/dna"])
def test_what_a_recipe_says_of_the_zoos_model_is_not_said_of_another(run, name):
    zoo = load_recipe(name).model
    write_recipe(run, zoo)
    own = run_metadata(run, "my_cells")
    assert own.id == "my-cells"
    assert own.name == "GVTNet my cells"
    for field in ("id", "name", "description", "authors", "data", "intended_use", "limitations"):
        assert getattr(own, field) != getattr(zoo, field)
    assert (own.authors[0].name, own.license, own.data) == ("unknown", "", ())
    assert read_run_config(run).metadata.id == "run"


def test_what_ones_own_recipe_says_is_kept(run):
    zoo = load_recipe("denoising/nuclei").model
    mine = zoo.model_copy(update={"id": "mine-1", "authors": OWN.authors, "license": "MIT"})
    write_recipe(run, mine)
    own = run_metadata(run, "x")
    assert (own.id, own.authors, own.license) == ("mine-1", OWN.authors, "MIT")
    assert own.data == (), "the zoo's data are in the recipe, but not what was trained on"
    assert run_metadata(run, "x", Identity(recipe_data=True)).data == zoo.data


def test_what_is_given_comes_first(run):
    given = Identity(
        id="given-1",
        name="Given name",
        version="2.0.1",
        license="CC-BY-4.0",
        authors=(Author(name="B. Uilder", orcid="0000-0002-1825-0097"),),
        data=(DataSource(name="More", license="MIT"),),
    )
    own = run_metadata(run, "x", given)
    assert (own.id, own.name, own.version, own.license) == (
        "given-1",
        "Given name",
        "2.0.1",
        "CC-BY-4.0",
    )
    assert own.authors == given.authors
    assert own.data == (*OWN.data, *given.data)
    assert own.description == OWN.description


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Identity(id="gvtnet-denoising-nuclei"), "a model of the zoo: give yours another --id"),
        (Identity(id="Not An Id"), "id"),
        (Identity(version="one"), "version"),
        (Identity(git_repo="somewhere"), "git_repo"),
    ],
)
def test_what_cannot_be_said_is_refused(run, given, words):
    with pytest.raises(GvtzooError, match=words):
        run_metadata(run, "x", given)


def test_a_zoo_models_name_is_not_made_from_a_file_either(run):
    write_recipe(run, None)
    assert run_metadata(run, "gvtnet-denoising-nuclei").id == "my-gvtnet-denoising-nuclei"


def test_a_fine_tuned_model_is_not_its_parents_authors(run):
    write_recipe(run, OWN.model_copy(update={"id": "tiny-tuned", "parent": "tiny-model"}))
    own = run_metadata(run, "mine")
    assert (own.id, own.parent, own.license) == ("mine", "tiny-model", "MIT")
    assert own.authors[0].name == "unknown"
    assert (own.data, own.parent_data) == ((), OWN.data)


def files(*names):
    return {
        "count": len(names),
        "files": [{"path": f"/there/{name}", "sha256": f"{name}-digest"} for name in names],
    }


def test_a_package_lists_what_was_trained_on(run, tmp_path):
    (run / "data.json").write_text(json.dumps({"train": files("a.tif"), "val": files("b.tif")}))
    write_recipe(run, data=DataConfig(regions={"train": {"y": (0, 20)}}))
    parent = PackageConfig(
        task="denoising",
        network=NETWORK,
        normalization={},
        metadata=OWN,
        trained_on={"files": [{"name": "p.tif", "sha256": "p-digest", "use": "train"}]},
    )
    (run / "parent.json").write_text(json.dumps(inherited(parent)))
    package = open_package(package_run(run, tmp_path / "model.zip"))
    assert package.config.trained_on.files == (
        TrainedFile(name="a.tif", sha256="a.tif-digest", use="train", region={"y": (0, 20)}),
        TrainedFile(name="b.tif", sha256="b.tif-digest", use="val"),
        TrainedFile(name="p.tif", sha256="p-digest", use="train", model="tiny-model"),
    )
    assert "/there" not in package.read("rdf.yaml").decode()
    card = package.read("README.md").decode()
    assert "a.tif" in card
    assert "a.tif-digest" not in card, "hashes are in the description"


def test_more_files_than_a_description_holds_are_counted(run):
    (run / "data.json").write_text(json.dumps({"train": files(*map(str, range(600)))}))
    known = read_run_config(run).trained_on
    assert (len(known.files), known.left_out) == (500, 100)


@pytest.mark.parametrize("content", ["{", "[]", '{"train": {"files": [{"path": "a"}]}}'])
def test_a_damaged_list_of_files_is_named(run, content):
    (run / "data.json").write_text(content)
    with pytest.raises(GvtzooError, match=r"data\.json"):
        read_run_config(run)
