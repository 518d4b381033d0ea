from __future__ import annotations

import numpy as np
import pytest

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.checks import check_image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4)), r"empty \(shape \(0, 4\)\)"),
        (np.array([1.0, np.nan, np.inf]), "2 of the image's 3 voxels are NaN or infinite"),
        (np.full((2, 2), 7, np.uint16), r"constant \(value 7\)"),
        (np.full((2, 2), 0.5, np.float32), r"constant \(value 0.5\)"),
        (np.array([1j, 2]), "type complex128"),
        (np.array([True, False]), "type bool"),
        (np.array(["a", "b"]), "type <U1"),
        (np.array([None, 1]), "type object"),
    ],
)
def test_what_no_network_can_use_is_refused_in_one_line(image, message):
    with pytest.raises(GvtzooError, match=message) as caught:
        check_image(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "f2", "f4", "f8"])
def test_real_numbers_pass(dtype):
    check_image(np.arange(6).reshape(2, 3).astype(dtype))
