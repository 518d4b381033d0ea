"""Recipes are checked on loading, and mistakes are named with their line."""

from __future__ import annotations

import csv

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.resources import recipes_folder
from gvtzoo.networks.baseline_config import CAREUNetConfig, FNetConfig
from gvtzoo.recipes.files import recipe_names
from gvtzoo.recipes.recipe import load_recipe, parse_override, to_yaml

SMALL = """\
name: small
task: denoising
network:
  preset: denoising
  features: 4
training:
  patch: [8, 16, 16]
  loss: mae
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_bundled_recipes_load(name):
    assert load_recipe(name).name == name


LABEL_FREE = [
    *("alpha_tubulin", "beta_actin", "desmoplakin", "dic_lamin_b1", "dna", "fibrillarin"),
    *("lamin_b1", "membrane_caax_63x", "myosin_iib", "sec61_beta", "st6gal1", "tom20", "zo1"),
]
PAPER = {
    **{f"label_free/{structure}": 6_172_225 for structure in LABEL_FREE},
    "denoising/planaria": 1_347_328 + 32,
    "denoising/tribolium": 1_347_328 + 32,
    "projection/flywing": 538_873,
}


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_build_the_papers_networks(name):
    recipe = load_recipe(name)
    parameters = recipe.network.build().parameters()
    assert sum(parameter.numel() for parameter in parameters) == PAPER[name]
    assert recipe.training.batch_size == 16
    beta_1 = 0.5 if recipe.task == "label_free" else 0.9
    assert recipe.training.betas == (beta_1, 0.999)
    assert recipe.model is not None


@pytest.mark.parametrize("structure", LABEL_FREE)
def test_label_free_recipes_list_the_papers_images(structure):
    recipe = load_recipe(f"label_free/{structure}")
    files = recipe.data.files
    assert files is not None
    counts = {}
    for split, name in files.items():
        with (recipes_folder() / name).open(newline="") as file:
            counts[split] = len({row["path_czi"] for row in csv.DictReader(file)})
    tested = {"membrane_caax_63x": 18, "dic_lamin_b1": 10}.get(structure, 20)
    assert counts == {"train": 30, "test": tested}


@pytest.mark.parametrize(
    ("name", "factor"),
    [("tom20", 0.37241), ("dic_lamin_b1", 0.5931), ("membrane_caax_63x", 0.29655)],
)
def test_label_free_images_get_the_papers_pixel_size(name, factor):
    data = load_recipe(f"label_free/{name}").data
    assert data.recorded_pixel_size / data.pixel_size == pytest.approx(factor, abs=1e-5)


def test_a_resolved_recipe_is_the_same_recipe(tmp_path):
    for name in ("label_free/fibrillarin", "denoising/nuclei", "projection/flywing"):
        path = tmp_path / "resolved.yaml"
        path.write_text(to_yaml(load_recipe(name)), encoding="utf-8")
        assert load_recipe(path) == load_recipe(name)


def test_preset_is_the_start_and_settings_change_it(recipe_file):
    network = load_recipe(recipe_file).network
    assert (network.depth, network.features, network.skip) == (3, 4, "concatenate")


def test_overrides_replace_settings(recipe_file):
    recipe = load_recipe(recipe_file, ["training.learning_rate=1e-4", "training.patch=[4, 8, 8]"])
    assert recipe.training.learning_rate == 1e-4
    assert recipe.training.patch == (4, 8, 8)
    assert recipe.training.loss == "mae"


def test_a_recipe_extends_another(recipe_file):
    child = recipe_file.with_name("child.yaml")
    child.write_text("extends: small\nname: child\ntraining: {steps: 7}\n")
    recipe = load_recipe(child)
    assert (recipe.name, recipe.training.steps, recipe.training.loss) == ("child", 7, "mae")


def test_a_recipe_cannot_extend_itself(tmp_path):
    (tmp_path / "loop.yaml").write_text("extends: loop\n")
    with pytest.raises(GvtzooError, match="extends itself"):
        load_recipe(tmp_path / "loop.yaml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("loss: mae", "los: mae", r"training\.los \(line 8\): is not a known setting"),
        ("loss: mae", "loss: rmse", r"training\.loss \(line 8\): .*'mse', 'mae'"),
        ("[8, 16, 16]", "[8, 16, 18]", "x has to be a multiple of 4 .* not 18"),
        ("[8, 16, 16]", "[16, 16]", "needs 3 sizes for a 3D network"),
        ("loss: mae", "loss: mae_with_uncertainty", "needs network.uncertainty: true"),
        ("preset: denoising", "preset: unet", "choose one of label_free, denoising, projection"),
        ("features: 4", "features: four", r"network\.features \(line 5\): .*integer"),
        ("name: small", "name: [", "is not valid YAML"),
    ],
)
def test_mistakes_are_named(recipe_file, before, after, message):
    recipe_file.write_text(SMALL.replace(before, after))
    with pytest.raises(GvtzooError, match=message) as caught:
        load_recipe(recipe_file)
    assert "\n" not in str(caught.value)


def test_unknown_recipes_list_the_known():
    with pytest.raises(GvtzooError, match="denoising/nuclei"):
        load_recipe("qqq/xxx")  # like no name that a recipe will ever have


def test_overrides_are_yaml():
    assert parse_override("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert parse_override("a=1e-3") == {"a": 1e-3}
    assert parse_override("a=one") == {"a": "one"}
    with pytest.raises(GvtzooError, match=r"key\.sub=value"):
        parse_override("a.b")


BASELINES = ("fnet", "care_unet", "rsgu_net", "ce_net")


@pytest.mark.parametrize("architecture", BASELINES)
@pytest.mark.parametrize(
    ("name", "channels"),
    [("denoising/exposures", 1), ("denoising/nuclei", 1), ("label_free/phase_to_dapi", 13)],
)
def test_every_recipe_can_train_a_baseline(name, channels, architecture):
    recipe, original = load_recipe(name, [f"network={architecture}"]), load_recipe(name)
    assert recipe.network.architecture == architecture
    assert recipe.network.dimensions == original.network.dimensions
    assert recipe.network.input_channels == channels
    assert recipe.network.uncertainty == original.network.uncertainty
    assert recipe.network.features == 32  # the paper's, not the recipe's
    assert (recipe.data, recipe.training) == (original.data, original.training)


def test_projections_train_care_s_projection():
    network = load_recipe("projection/notum", ["network=care_projection"]).network
    assert (network.dimensions, network.output_dimensions) == (3, 2)
    with pytest.raises(GvtzooError, match="gives a 2D image, not fnet"):
        load_recipe("projection/notum", ["network=fnet"])


def test_a_recipe_extends_another_with_another_architecture(recipe_file):
    child = recipe_file.with_name("child.yaml")
    child.write_text("extends: small\nnetwork: {architecture: fnet, depth: 3, features: 16}\n")
    network = load_recipe(child, ["network.features=2"]).network
    assert network == FNetConfig(depth=3, features=2)
    child.write_text("extends: small\nnetwork: care_unet\n")
    assert load_recipe(child).network == CAREUNetConfig()
    grandchild = recipe_file.with_name("grandchild.yaml")
    grandchild.write_text("extends: child\nnetwork: {preset: denoising, features: 4}\n")
    assert load_recipe(grandchild).network == load_recipe(recipe_file).network


def test_dimensions_follow_from_the_patch(recipe_file):
    overrides = ["network=fnet", "training.patch=[16, 32]"]
    assert load_recipe(recipe_file, overrides).network.dimensions == 2


def test_a_resolved_recipe_of_a_baseline_is_the_same(tmp_path):
    recipe = load_recipe("label_free/phase_to_dapi", ["network=rsgu_net"])
    (tmp_path / "resolved.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "resolved.yaml") == recipe


def test_another_architecture_is_another_model():
    original = load_recipe("denoising/exposures").model
    model = load_recipe("denoising/exposures", ["network=care_unet"]).model
    assert model.id == "care-u-net-denoising-exposures"
    assert "gvtnet" not in model.model_dump_json().lower()
    assert [entry.doi for entry in model.cite] == [
        "10.1038/s41592-018-0216-7",  # CARE
        "10.1093/gigascience/giab032",  # the images
    ]
    assert (model.data, model.intended_use) == (original.data, original.intended_use)
    assert model.limitations == ""  # were seen with the other network


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network=unet"], "no architecture 'unet': choose one of gvtnet, projection, fnet"),
        (["network=[fnet]"], "name of an architecture are needed"),
        (["network={architecture: [fnet]}"], "no architecture"),
        (["network=fnet", "network.bottom=[residual]"], "bottom is not a setting of fnet"),
        (["network=ce_net", "training.freeze=encoder"], "is for GVTNets: ce_net is trained as"),
        (["network=fnet"], r"z has to be a multiple of 16 \(depth 5\), not 8"),
        (["network=ce_net", "network.depth=5"], r"network\.depth.*less than or equal to 4"),
        (["network=care_unet", "training.loss=mae_with_uncertainty"], "needs network.uncertainty"),
    ],
)
def test_mistakes_with_baselines_are_named(recipe_file, overrides, message):
    with pytest.raises(GvtzooError, match=message) as caught:
        load_recipe(recipe_file, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.learningrate=3", "did you mean learning_rate"),
        ("training.steps=abc", "valid integer.*'abc'"),
        ("network.feature=16", "did you mean features"),
        ("training.patch=[3,3,3]", "patch"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_typed(setting, message):
    with pytest.raises(GvtzooError, match=message) as caught:
        load_recipe("denoising/nuclei", ["training.steps=5", setting])
    assert setting in str(caught.value)
    assert ".yaml" not in str(caught.value)


def test_a_misspelt_recipe_is_suggested():
    with pytest.raises(GvtzooError, match=r"did you mean denoising/nuclei\?"):
        load_recipe("denoising/nucle")
