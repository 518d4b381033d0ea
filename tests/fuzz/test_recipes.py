from __future__ import annotations

import pytest
import small_package
import yaml
from hostile import changed, fuzz, mutations, outcome, refusal, values
from hypothesis import given
from hypothesis import strategies as st
from yaml_bombs import BOMBS

from gvtzoo.recipes.recipe import Recipe, load_recipe

RECIPE = {
    "name": "blobs",
    "task": "denoising",
    "network": small_package.NETWORK.model_dump(mode="json"),
    "data": {"noise": {"photons": [10, 30]}, "regions": {"train": {"y": [0, 10]}}},
    "normalization": {"source": {"kind": "fixed", "mean": 1.0, "std": 2.0}, "target": "as_source"},
    "augmentation": {"turns": True},
    "training": {"patch": [32, 32], "betas": [0.9, 0.99], "schedule": {"kind": "cosine"}},
    "model": small_package.CONFIG.metadata.model_dump(mode="json"),
}
PRESET = {**RECIPE, "network": {"preset": "denoising", "features": 16}}


def check(path, content, overrides=()):
    path.write_bytes(content)
    recipe = outcome(load_recipe, path, overrides)
    assert recipe is None or isinstance(recipe, Recipe)
    return recipe


def test_the_recipe_itself_is_taken(tmp_path):
    assert check(tmp_path / "a.yaml", small_package.to_yaml(RECIPE)).name == "blobs"


@pytest.mark.parametrize("recipe", [RECIPE, PRESET], ids=["whole", "preset"])
@fuzz(10)
@given(data=st.data())
def test_changed_recipes(tmp_path, recipe, data):
    content = data.draw(changed(recipe))
    check(tmp_path / "a.yaml", small_package.to_yaml(content))


@fuzz(8)
@given(mutate=mutations())
def test_damaged_recipes(tmp_path, mutate):
    check(tmp_path / "a.yaml", mutate(small_package.to_yaml(RECIPE)))


@fuzz(10)
@given(
    base=values() | st.sampled_from(["a", "./a", "../f/a", "b", "denoising/nuclei", "/dev/zero"])
)
def test_bases_of_any_kind(tmp_path, base):
    folder = tmp_path / "f"
    folder.mkdir(exist_ok=True)
    (folder / "b.yaml").write_bytes(small_package.to_yaml({"extends": "./../f/a"}))
    check(folder / "a.yaml", small_package.to_yaml({**RECIPE, "extends": base}))


@fuzz(12)
@given(
    overrides=st.lists(
        st.text(max_size=20)
        | st.builds(
            "{}={}".format,
            st.sampled_from(["name", "training.steps", "network.features", "a.b", ".", "network"]),
            st.text(max_size=12)
            | st.sampled_from(
                ["1e999", "nan", "1e-4", "2026-99-99e1", "[" * 2000, "9" * 5000, "e1"]
            ),
        )
        | st.just("a." * 5000 + "b=1"),
        max_size=3,
    )
)
def test_overrides_of_any_kind(tmp_path, overrides):
    check(tmp_path / "a.yaml", small_package.to_yaml(RECIPE), overrides)


@pytest.mark.parametrize("kind", BOMBS)
def test_yaml_tricks_are_refused(tmp_path, kind):
    text = BOMBS[kind]
    path = tmp_path / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert "a.yaml" in refusal(load_recipe, path)


@pytest.mark.parametrize(
    "network",
    [{"features": 10**9}, {"features": 10**6, "depth": 8}, {"bottom": ["gvto"] * 10_000}],
    ids=lambda network: "-".join(network),
)
def test_networks_of_absurd_sizes_are_refused(tmp_path, network):
    content = {**RECIPE, "network": {**RECIPE["network"], **network}}
    path = tmp_path / "a.yaml"
    path.write_bytes(yaml.safe_dump(content).encode())
    assert "network" in refusal(load_recipe, path)
