"""Patches that fit, and what is said where none does."""

from types import SimpleNamespace

import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.recipe import build_recipe
from gvtzoo.training.data.patches import check_patch, fitted_patch


def recipe(patch, **network):
    return build_recipe(
        {
            "name": "mine",
            "task": "denoising",
            "network": {"preset": "denoising", "features": 4, **network},
            "training": {"patch": patch, "steps": 1},
            "augmentation": {"turns": True},
        },
        [],
    )


def images(*shapes):
    return [SimpleNamespace(name=f"{n}.tif", shape=(1, *shape)) for n, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(64, 200, 200)], (32, 64, 64)),
        ([(17, 200, 40)], (16, 40, 40)),
        ([(64, 70, 70), (20, 50, 90)], (20, 48, 48)),
        ([(2, 3, 3)], (4, 4, 4)),
    ],
)
def test_a_patch_fits_into_every_image_and_suits_the_network(shapes, expected):
    assert fitted_patch(recipe([32, 64, 64]), images(*shapes)) == expected


def test_the_patch_that_is_named_is_accepted():
    wide = images((40, 200, 200), (9, 41, 80))
    with pytest.raises(GvtzooError, match=r"1\.tif has size \(9, 41, 80\).*patch=\[8,40,40\]"):
        check_patch(recipe([32, 64, 64]), wide)
    check_patch(recipe([8, 40, 40]), wide)


def test_an_image_below_what_the_network_takes_is_to_be_left_out():
    with pytest.raises(GvtzooError, match="takes no less than 4×4×4: leave it out"):
        check_patch(recipe([4, 4, 4]), images((40, 40, 40), (3, 40, 40)))
