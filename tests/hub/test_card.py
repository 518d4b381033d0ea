"""The card: metadata that the Hub accepts, and text that says what a user asks."""

from __future__ import annotations

import re

import pytest
from huggingface_hub import ModelCard

from gvtzoo.hub.card import model_card
from gvtzoo.packages.config import MetricRow
from gvtzoo.recipes.metadata import DataSource


def card_of(config, **options) -> ModelCard:
    return ModelCard(model_card(config, "alice/tiny", picture="images/cover.png", **options))


def test_metadata_is_what_the_hub_searches_by(configured):
    data = card_of(configured(), tags=("2d", "denoising")).data
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "gvtzoo",
        "image-to-image",
        "mit",
    )
    assert data.tags == ["bioimage.io", "microscopy", "denoising", "bright-blobs", "2d"]
    assert data.datasets == ["alice/blobs"]
    assert data.base_model is None


def test_results_are_those_of_the_network_alone(configured):
    (result,) = card_of(configured()).data.eval_results
    assert (result.metric_type, result.metric_value) == ("ssim", 0.91)
    assert result.dataset_name == "blobs, test, 5 photons"


def test_a_number_that_is_none_is_no_result(configured):
    row = MetricRow(data="blobs", method="GVTNet", SSIM=float("nan"))
    assert card_of(configured(metrics=(row,))).data.eval_results is None


def test_the_numbers_of_the_model_before_are_not_the_fine_tuned_ones(configured):
    rows = (
        MetricRow(data="2 pairs", method="before (gvtnet-denoising-nuclei)", SSIM=0.5),
        MetricRow(data="2 pairs", method="after", SSIM=0.7, chose_weights=True),
    )
    card = card_of(configured(metrics=rows))
    (result,) = card.data.eval_results
    assert (result.metric_value, result.dataset_split) == (0.7, "validation")
    assert "| 2 pairs |  | after † | 0.7 |" in card.text
    assert "These images chose the weights" in card.text


def test_the_hubs_own_schema_reads_the_results(configured):
    data = card_of(configured()).data
    (entry,) = data.to_dict()["model-index"]
    assert entry["name"] == "Tiny model"
    (result,) = entry["results"]
    assert result["task"] == {"type": "image-to-image"}
    assert result["dataset"]["split"] == "test"
    assert result["metrics"] == [{"type": "ssim", "value": 0.91, "name": "SSIM"}]


def test_a_model_that_was_loaded_from_the_hub_is_the_base(configured, described):
    metadata = described(parent="tiny-model", base_model="alice/parent")
    data = card_of(configured(metadata=metadata)).data
    assert (data.base_model, data.to_dict()["base_model_relation"]) == ("alice/parent", "finetune")
    assert "base_model_relation" not in card_of(configured()).data.to_dict()


def test_without_a_licence_the_card_names_none(configured, described):
    card = card_of(configured(metadata=described(license="")))
    assert card.data.license is None
    assert "no licence was given" in card.text


def test_baselines_are_in_the_table(configured):
    assert "| blobs, test | 5 photons | median | 0.77 |" in card_of(configured()).text


@pytest.mark.parametrize(
    ("spdx", "expected"),
    [
        ("BSD-3-Clause", ("bsd-3-clause", None)),
        ("GPL-3.0-only", ("gpl-3.0", None)),
        ("CECILL-2.1", ("other", "cecill-2.1")),
    ],
)
def test_licenses_are_spelt_as_on_the_hub(configured, described, spdx, expected):
    data = card_of(configured(metadata=described(license=spdx))).data
    assert (data.license, data.license_name) == expected


@pytest.mark.parametrize(
    ("parent", "expected"), [("alice/parent@1.0.0", "alice/parent"), ("gvtnet-nuclei", None)]
)
def test_only_a_repository_is_a_base_model(configured, described, parent, expected):
    assert card_of(configured(metadata=described(parent=parent))).data.base_model == expected


def test_data_elsewhere_is_not_named_as_a_hub_dataset(configured, described):
    source = DataSource(name="Blobs", license="CC0-1.0", url="https://example.org/a/b")
    assert card_of(configured(metadata=described(data=(source,)))).data.datasets is None


def test_sections_come_in_the_order_of_questions(configured):
    titles = re.findall(r"^## (.+)$", card_of(configured()).text, re.MULTILINE)
    assert titles == [
        "What it is for",
        "What it is not for",
        "How to use it",
        "Training data",
        "Validation",
        "Normalization",
        "Tiling and image size",
        "Uncertainty",
        "In other programs",
        "Licence",
        "Citation",
    ]


def test_a_heading_in_the_authors_text_is_kept(configured, described):
    metadata = described(intended_use="Blobs.\n\n## Beware\n\nNot for stars.")
    assert "## Beware\n\nNot for stars." in card_of(configured(metadata=metadata)).text


def test_instructions_use_the_repository_name(configured):
    text = card_of(configured()).text
    assert "gvtzoo predict alice/tiny image.tif -o out.tif" in text
    assert 'gvtzoo.load("alice/tiny")' in text
    assert "![Input and prediction](images/cover.png)" in text
