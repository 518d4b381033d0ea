"""Cards of the models that come with gvtzoo."""

from __future__ import annotations

import pytest
from imagecodecs import png_decode

from gvtzoo.hub.index import read_index
from gvtzoo.hub.registry import bundled_models
from gvtzoo.networks.config import DENOISING, PROJECTION
from gvtzoo.packages.reader import open_package
from gvtzoo.site.cards import spatial_dimensions, usage, zoo_cards


@pytest.fixture(scope="module")
def shown():
    return {card.id: card for card in zoo_cards()}


@pytest.fixture(scope="module")
def cards(shown):
    return {name: card for name, card in shown.items() if name in bundled_models()}


def test_every_bundled_model_has_a_card(cards):
    assert list(cards) == list(bundled_models())
    for name, card in cards.items():
        config = open_package(bundled_models()[name]).config
        assert card.name == config.metadata.name
        assert card.license == config.metadata.license
        assert card.metrics == config.metrics
        assert card.size == bundled_models()[name].stat().st_size


def test_every_model_of_the_zoo_has_a_card(cards, shown):
    entries = read_index()
    assert set(shown) == set(entries)
    assert list(shown)[: len(cards)] == list(cards)
    for name, card in shown.items():
        if name in cards:
            assert card.package and card.pictures
        else:
            assert card.metrics == ()
            assert card.license == "GPL-3.0-only"
            assert [command.text for command in card.commands[:1]] == list(entries[name].commands)


def test_every_picture_has_its_truth_beside_it(cards):
    for name, card in cards.items():
        assert card.pictures.truth is not None, name
        assert "seen in training" in card.pictures.caption


def test_scale_bars_are_there_where_pixel_sizes_are_known(cards):
    for name, card in cards.items():
        known = bool(open_package(bundled_models()[name]).config.pixel_size)
        assert (card.pictures.bar is not None) == known, name


def test_the_picture_shows_what_denoising_does(cards):
    pictures = cards["gvtnet-denoising-nuclei"].pictures
    before, after = (png_decode(png).astype(float) for png in (pictures.before, pictures.after))
    assert before.shape == after.shape
    # Nuclei before a dark ground, and noise that is gone.
    step = pictures.width // 176
    rough, smooth = (
        abs(image[::step, step::step] - image[::step, :-step:step]).mean()
        for image in (before, after)
    )
    assert smooth < 0.25 * rough
    assert after.std() > 40


def test_spatial_dimensions_name_projections():
    assert spatial_dimensions(DENOISING) == "3D"
    assert spatial_dimensions(DENOISING.model_copy(update={"dimensions": 2})) == "2D"
    assert spatial_dimensions(PROJECTION) == "3D → 2D"


def test_uncertainty_is_offered_where_there_is_one(cards):
    config = open_package(bundled_models()["gvtnet-denoising-nuclei"]).config
    with_sigma = [command.text for command in usage("a", config)]
    without = [
        command.text for command in usage("a", config.model_copy(update={"uncertainty": False}))
    ]
    assert any("--uncertainty" in text for text in with_sigma)
    assert not any("--uncertainty" in text for text in without)
    assert any('axes="ZYX"' in text for text in with_sigma)
