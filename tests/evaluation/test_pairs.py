"""Pairs are found in every layout that is promised, and what is wrong is named."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from gvtzoo.core.errors import GvtzooError
from gvtzoo.evaluation.pairs import EvaluationPair, find_pairs, write_recipe_pairs
from gvtzoo.images.files import read_image
from gvtzoo.recipes.recipe import load_recipe


def save(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(0).integers(0, 255, (16, 24)).astype(np.uint8)
        tifffile.imwrite(path, image, metadata={"axes": "YX"})


def described(pairs):
    return [(pair.structure, pair.condition, pair.name) for pair in pairs]


def test_a_folder(tmp_path):
    save(*(tmp_path / kind / f"{name}.tif" for kind in ("source", "target") for name in "ba"))
    pairs = find_pairs(tmp_path)
    assert described(pairs) == [("", "", "a"), ("", "", "b")]
    assert pairs[0].target == tmp_path / "target" / "a.tif"


@pytest.mark.parametrize(("splits", "taken"), [("train val test", "test"), ("train val", "val")])
def test_images_for_testing_are_preferred(tmp_path, splits, taken):
    for split in splits.split():
        save(
            tmp_path / split / "source" / f"{split}.tif",
            tmp_path / split / "target" / f"{split}.tif",
        )
    assert described(find_pairs(tmp_path)) == [("", "", taken)]


def test_an_image_named_as_the_sigma_of_another(tmp_path):
    save(*(tmp_path / kind / "a_Sigma.tif" for kind in ("source", "target")))
    assert described(find_pairs(tmp_path)) == [("", "", "a_Sigma")]
    save(*(tmp_path / kind / "a.tif" for kind in ("source", "target")))
    with pytest.raises(GvtzooError, match="an image a_Sigma, named as the σ of another is"):
        find_pairs(tmp_path)


def test_conditions_of_one_truth(tmp_path):
    for folder in ("dim", "bright", "target"):
        save(tmp_path / folder / "a.tif")
    assert described(find_pairs(tmp_path, conditions=["dim", "bright"])) == [
        ("", "dim", "a"),
        ("", "bright", "a"),
    ]
    assert described(find_pairs(tmp_path, conditions=["bright"])) == [("", "bright", "a")]
    with pytest.raises(GvtzooError, match=r"no folder .*/dark with source images"):
        find_pairs(tmp_path, conditions=["dark"])


def test_the_layout_of_care(tmp_path):
    for folder in ("condition_1", "condition_2", "GT"):
        save(tmp_path / "test_data" / folder / "worm.tif")
    pairs = find_pairs(tmp_path)
    assert described(pairs) == [("", "condition_1", "worm"), ("", "condition_2", "worm")]
    assert {pair.target.parent.name for pair in pairs} == {"GT"}


def test_a_table(tmp_path):
    save(*(tmp_path / name for name in ("a.tif", "b.tif", "truth.tif")))
    (tmp_path / "pairs.csv").write_text(
        "source,target,split,condition,structure,channel,target_channel\n"
        "a.tif,truth.tif,train,dim,dna,,\n"
        "a.tif,truth.tif,test,dim,dna,1,\n"
        "b.tif,truth.tif,test,bright,dna,,GFP\n"
    )
    pairs = find_pairs(tmp_path / "pairs.csv")
    assert described(pairs) == [("dna", "dim", "a"), ("dna", "bright", "b")]
    assert (pairs[0].channel, pairs[0].target_channel) == ("1", None)
    assert pairs[1].target_channel == "GFP"
    assert described(find_pairs(tmp_path / "pairs.csv", conditions=["dim"])) == [
        ("dna", "dim", "a")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks the column 'source'"),
        ("source\na.tif\n", "lacks the column 'target'"),
        ("source,target\na.tif,nowhere.tif\n", r"there is no file .*nowhere\.tif"),
        ("source,target\na.tif,a.tif\na.tif,a.tif\n", "has two images a"),
        ("source,target,split\n", "holds no pairs"),
        ("source,target\na.tif\n", "a row without source or target"),
        ("source,target\na.tif,\n", "a row without source or target"),
    ],
)
def test_wrong_tables_are_named(tmp_path, content, message):
    save(tmp_path / "a.tif")
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(GvtzooError, match=message) as error:
        find_pairs(tmp_path / "pairs.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_tables_of_spreadsheet_programs(tmp_path, encoding):
    save(tmp_path / "a.tif")
    table = tmp_path / "pairs.csv"
    table.write_text("source,target,structure\na.tif,a.tif,µ\n", encoding=encoding)
    assert described(find_pairs(table)) == [("µ", "", "a")]


def test_conditions_that_a_table_lacks_are_named(tmp_path):
    save(tmp_path / "a.tif")
    table = tmp_path / "pairs.csv"
    table.write_text("source,target,condition\na.tif,a.tif,dim\n")
    with pytest.raises(GvtzooError, match="no images in the condition 'dark'"):
        find_pairs(table, conditions=["dim", "dark"])


def test_names_that_differ_in_case_only_are_told_apart(tmp_path):
    """Their predictions are files, which on some systems would be the same."""
    save(tmp_path / "x" / "a.tif", tmp_path / "y" / "A.tif")
    (tmp_path / "pairs.csv").write_text("source,target\nx/a.tif,x/a.tif\ny/A.tif,y/A.tif\n")
    assert [str(pair.place) for pair in find_pairs(tmp_path / "pairs.csv")] == ["x_a", "y_A"]


def test_images_of_a_recipe_do_not_take_each_others_place(tmp_path):
    rows = ["source,target,split"]
    for folder, split in (("x", "train"), ("y", "test"), ("z", "test")):
        save(tmp_path / folder / "s.tif", tmp_path / folder / "t.tif")
        rows.append(f"{folder}/s.tif,{folder}/t.tif,{split}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    recipe = load_recipe("denoising/exposures", ["data.files=null"])
    pairs = write_recipe_pairs(recipe, tmp_path / "pairs.csv", tmp_path / "images")
    assert [pair.name for pair in pairs] == ["y/s", "z/s"]
    assert len({pair.source for pair in pairs if pair.source.is_file()}) == 2


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(GvtzooError, match="there is no data folder"):
        find_pairs(tmp_path / "nowhere")
    save(tmp_path / "source" / "a.tif")
    with pytest.raises(GvtzooError, match="has no folder target/"):
        find_pairs(tmp_path)
    save(tmp_path / "target" / "b.tif")
    with pytest.raises(GvtzooError, match=r"a\.tif has no partner"):
        find_pairs(tmp_path)


def test_places_are_file_names(tmp_path):
    pair = EvaluationPair("../a b", tmp_path, tmp_path, "20 photons", "µ/ν")
    assert pair.place.parts == ("µ_ν", "20_photons", "a_b")


@pytest.fixture
def clean(tmp_path):
    y, x = np.mgrid[:48, :64] / 8
    stack = np.stack([1000 + 900 * np.sin(y + z) * np.cos(x) for z in range(8)])
    path = tmp_path / "clean" / "blobs.tif"
    path.parent.mkdir()
    metadata = {"axes": "ZYX", "spacing": 0.3, "unit": "um"}
    tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata=metadata)
    return path.parent


def test_images_of_a_recipe(tmp_path, clean):
    settings = ["data.regions={test: {y: [8, 40]}}", "data.noise.photons=[5, 20]"]
    recipe = load_recipe("denoising/nuclei", settings)
    pairs = write_recipe_pairs(recipe, clean, tmp_path / "images", structure="s")
    assert described(pairs) == [("s", "5 photons", "blobs"), ("s", "20 photons", "blobs")]
    noisy, truth = (read_image(path) for path in (pairs[0].source, pairs[0].target))
    assert noisy.dims == truth.dims == ("z", "y", "x")
    assert noisy.shape == (8, 32, 64)
    assert noisy.attrs["pixel_size"]["z"] == pytest.approx(0.3)
    before = {pair.source: pair.source.stat().st_mtime_ns for pair in pairs}
    assert write_recipe_pairs(recipe, clean, tmp_path / "images", structure="s") == pairs
    assert {path: path.stat().st_mtime_ns for path in before} == before
    other = load_recipe("denoising/nuclei", [*settings, "data.noise.read_noise=9"])
    write_recipe_pairs(other, clean, tmp_path / "images", structure="s")
    assert not np.array_equal(read_image(pairs[0].source), noisy)


def test_a_recipe_without_test_images(tmp_path):
    save(tmp_path / "source" / "a.tif", tmp_path / "target" / "a.tif")
    with pytest.raises(GvtzooError, match="has no test images for the recipe denoising/exposures"):
        write_recipe_pairs(
            load_recipe("denoising/exposures", ["data.files=null"]), tmp_path, tmp_path / "images"
        )
