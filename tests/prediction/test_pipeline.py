"""The whole prediction agrees with the reference implementation's."""

from __future__ import annotations

import json

import numpy as np
import pytest

TOLERANCE = 1e-4  # of the value range


@pytest.mark.parametrize("case", ["denoise", "label_free", "projection"])
def test_pipeline_agrees_with_reference(golden_case, case):
    golden = golden_case(case)
    expected = golden.pipeline["prediction"]
    prediction = golden.model().predict(golden.pipeline["image"], axes="ZYX", tiling="whole")
    assert prediction.shape == expected.shape
    difference = np.abs(prediction.to_numpy() - expected).max()
    assert difference <= TOLERANCE * np.ptp(expected)


def test_averaged_patches_agree_with_reference(golden_case):
    golden = golden_case("denoise")
    folder = golden.folder.parent / "denoise_patches"
    settings = json.loads((folder / "pipeline.json").read_text())
    stored = np.load(folder / "pipeline.npz")
    prediction = golden.model().predict(
        stored["image"],
        axes="ZYX",
        tiling="blocks",
        block=tuple(settings["patch"]),
        overlap=tuple(settings["overlap"]),
    )
    difference = np.abs(prediction.to_numpy() - stored["prediction"]).max()
    assert difference <= TOLERANCE * np.ptp(stored["prediction"])
