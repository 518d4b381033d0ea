"""Parts of images that belong to a split."""

from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.recipes.recipe import load_recipe
from gvtzoo.training.data.reading import cut_region


def test_a_region_outside_of_an_image_is_refused_and_can_be_left_out():
    image = np.zeros((1, 8, 96, 96), np.float32)
    data = load_recipe("denoising/nuclei").data
    assert cut_region(image, "train", data).shape == image.shape, "rows 0 to 143: all there are"
    with pytest.raises(GvtzooError, match=r"8×96×96 .* for val, y 152 to 184: .*regions=null"):
        cut_region(image, "val", data)
    whole = load_recipe("denoising/nuclei", ["data.regions=null"]).data
    assert cut_region(image, "val", whole) is image
