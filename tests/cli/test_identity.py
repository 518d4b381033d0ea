"""A packaged run says who made it; a published one has to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import invoke
from small_run import write_run
from typer.testing import CliRunner

from gvtzoo.cli.identity import author_of, data_of, maintainer_of
from gvtzoo.cli.main import app
from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import sha256_of
from gvtzoo.evaluation.results import Evaluation, ImageResult
from gvtzoo.hub.card import model_card
from gvtzoo.hub.publish import prepare
from gvtzoo.packages.reader import open_package
from gvtzoo.recipes.metadata import Author, Maintainer


@pytest.fixture
def run(tmp_path):
    """A run by the recipe of a model of the zoo, as training leaves it, with a smaller network."""
    folder = write_run(tmp_path / "run")
    source = np.random.default_rng(0).integers(90, 900, (1, 64, 64), dtype=np.uint16)
    np.savez(folder / "example.npz", source=source, target=source)
    (folder / "data.json").write_text(
        json.dumps({"train": {"files": [{"path": "/mine/cells.tif", "sha256": "ab" * 32}]}})
    )
    return folder


ORCID = "0000-0002-1825-0097"


DESCRIBED = [
    *("--id", "cells-1", "--name", "Cells of mine", "--version", "1.2.0", "--license", "CC-BY-4.0"),
    *(
        "--author",
        "Ada Lovelace; University of London; 0000-0002-1825-0097",
        "--author",
        "B. Uilder",
    ),
    *("--maintainer", "ada; Ada Lovelace", "--git-repo", "https://example.org/cells"),
    *("--data-name", "My cells", "--data-license", "CC0-1.0", "--data-id", "zesty-zebra"),
]


def test_a_run_by_a_zoo_recipe_is_not_the_zoos_model(run, tmp_path):
    done = invoke("package", run, "-o", tmp_path / "my_cells.zip")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'my_cells.zip'}\n"
    assert "--author, --license, --data-name, --metrics" in done.stderr
    rdf = open_package(tmp_path / "my_cells.zip").rdf
    assert (rdf["id"], rdf["authors"]) == ("my-cells", [{"name": "unknown"}])
    assert "license" not in rdf
    card = open_package(tmp_path / "my_cells.zip").read("README.md").decode()
    for words in ("gvtzoo authors", "Hagen", "GigaDB", "gvtnet-denoising-exposures"):
        assert words not in card
    assert "cells.tif" in card
    assert "no licence was given" in card


def test_the_description_is_what_was_given(run, tmp_path):
    done = invoke("package", run, "-o", tmp_path / "model.zip", *DESCRIBED)
    model = tmp_path / "model.zip"
    assert (done.exit_code, done.stderr) == (
        0,
        f"gvtzoo: to publish {model}, package it with --metrics\n",
    )
    package = open_package(tmp_path / "model.zip")
    rdf = package.rdf
    assert (rdf["id"], rdf["name"], rdf["version"]) == ("cells-1", "Cells of mine", "1.2.0")
    assert rdf["authors"] == [
        {"name": "Ada Lovelace", "affiliation": "University of London", "orcid": ORCID},
        {"name": "B. Uilder"},
    ]
    assert rdf["maintainers"] == [{"github_user": "ada", "name": "Ada Lovelace"}]
    assert rdf["git_repo"] == "https://example.org/cells"
    assert rdf["training_data"] == {"id": "zesty-zebra"}
    assert rdf["license"] == "CC-BY-4.0"
    assert package.config.trained_on.files[0].sha256 == "ab" * 32


def test_the_zoos_ids_are_taken(run, tmp_path):
    done = invoke("package", run, "-o", tmp_path / "a.zip", "--id", "gvtnet-denoising-nuclei")
    assert isinstance(done.exception, GvtzooError)
    assert "is a model of the zoo" in str(done.exception)
    assert not (tmp_path / "a.zip").exists()


def test_who_one_is_stands_in_the_settings(run, tmp_path, monkeypatch):
    folder = tmp_path / "config" / "gvtzoo"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    (folder / "config.toml").write_text(
        'author = ["Ada Lovelace; London", "B. Uilder"]\nmaintainer = "ada"\nlicense = "MIT"\n'
    )
    assert invoke("package", run, "-o", tmp_path / "a.zip").exit_code == 0
    metadata = open_package(tmp_path / "a.zip").config.metadata
    assert metadata.authors == (
        Author(name="Ada Lovelace", affiliation="London"),
        Author(name="B. Uilder"),
    )
    assert (metadata.license, metadata.maintainers) == ("MIT", (Maintainer(github_user="ada"),))
    monkeypatch.setenv("GVTZOO_AUTHOR", "Someone Else")
    invoke("package", run, "-o", tmp_path / "b.zip", "--license", "CC0-1.0")
    metadata = open_package(tmp_path / "b.zip").config.metadata
    assert (metadata.authors, metadata.license) == ((Author(name="Someone Else"),), "CC0-1.0")
    (folder / "config.toml").write_text("author = ")
    assert "config.toml is not valid TOML" in str(invoke("package", run, "-o", "c.zip").exception)


@pytest.mark.parametrize(
    "text", ["", "; London", "A; b; c", "A; 0000-0002-1825-0097; 0000-0002-1825-0097"]
)
def test_an_author_that_is_none(text):
    with pytest.raises(GvtzooError, match="is no author"):
        author_of(text)


def test_what_is_missing_is_asked_for_on_a_terminal(run, tmp_path, monkeypatch):
    monkeypatch.setattr("gvtzoo.cli.identity._somebody_answers", lambda: True)
    command = ["package", str(run), "-o", str(tmp_path / "a.zip"), "--license", "MIT"]
    done = CliRunner().invoke(app, command, input="Ada Lovelace; London\nMy cells\n\n")
    assert done.exit_code == 0, done.output
    assert "Author" in done.stderr
    assert "Licence of the weights" not in done.stderr
    assert done.stdout == f"{tmp_path / 'a.zip'}\n"
    metadata = open_package(tmp_path / "a.zip").config.metadata
    assert metadata.authors == (Author(name="Ada Lovelace", affiliation="London"),)
    assert (metadata.data[0].name, metadata.data[0].license) == ("My cells", "not stated")
    done = CliRunner().invoke(app, [*command, "--overwrite"], input="\n\n")
    assert "--author, --data-name" in done.stderr, "every question may be left open"


def test_other_texts_that_are_none():
    with pytest.raises(GvtzooError, match="is no maintainer"):
        maintainer_of("Ada Lovelace")
    with pytest.raises(GvtzooError, match="--data-url without a --data-name"):
        data_of(["a"], [], ["https://a", "https://b"], [])


def evaluation(run, **changes):
    rows = [
        ImageResult(
            model=model, image=image, metrics={"r": r, "ssim": r, "nrmse": 0.1, "psnr": 20}, **more
        )
        for model, r, more in (("run", 0.9, changes), ("input", 0.5, {}))
        for image in "ab"
    ]
    return Evaluation(
        models=("run", "input"),
        metrics=("r",),
        results=tuple(rows),
        weights={"run": sha256_of(run / "best.safetensors")},
        data="/home/ada/my_pairs/, test images of denoising/nuclei",
    )


def test_metrics_come_from_an_evaluation_of_these_weights(run, tmp_path):
    report = tmp_path / "report"
    report.mkdir()
    (report / "evaluation.json").write_text(evaluation(run, seen="val").model_dump_json())
    options = ["--metrics", report, *DESCRIBED]
    assert invoke("package", run, "-o", tmp_path / "model.zip", *options).exit_code == 0
    config = open_package(tmp_path / "model.zip").config
    assert [(row.method, row.values["SSIM"]) for row in config.metrics] == [
        ("GVTNet", 0.9),
        ("input", 0.5),
    ]
    assert [row.chose_weights for row in config.metrics] == [True, False]
    assert config.metrics[0].data == "my_pairs, test images of denoising/nuclei (2 images)"
    card = model_card(config, "a/b", picture="c.png")
    assert "| GVTNet † |" in card
    assert "These images chose the weights" in card
    publication = prepare(tmp_path / "model.zip", "ada/cells")
    assert "split: validation" in publication.card
    (report / "evaluation.json").write_text(evaluation(run, seen="train").model_dump_json())
    done = invoke("package", run, "-o", tmp_path / "other.zip", *options)
    assert "was trained on" in str(done.exception)
    (run / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes() + b"\0")
    done = invoke("package", run, "-o", tmp_path / "other.zip", *options)
    assert "is not one of these weights" in str(done.exception)


def test_a_run_folder_is_a_model(run, tmp_path):
    import tifffile

    done = invoke("info", run)
    assert (done.exit_code, done.stdout.splitlines()[0].split()[-2:]) == (0, ["(run", "1.0.0)"])
    image = np.random.default_rng(0).integers(90, 900, (40, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", image, imagej=True, metadata={"axes": "YX"})
    done = invoke(
        "predict", run, tmp_path / "image.tif", "-o", tmp_path / "out.tif", "--device", "cpu"
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert tifffile.imread(tmp_path / "out.tif").shape == (40, 40)
    assert f"`gvtzoo package {run} -o MODEL.zip`" in str(invoke("test", run).exception)
    (run / "best.safetensors").unlink()
    assert "has no weights yet" in str(invoke("predict", run, "a.tif", "-o", "b.tif").exception)
