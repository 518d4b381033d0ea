import pytest

from gvtzoo.images.normalization import (
    FixedNormalization,
    NoNormalization,
    NormalizationConfig,
    ZScoreNormalization,
)
from gvtzoo.networks.baseline_config import BASELINES
from gvtzoo.packages.card_text import documentation
from gvtzoo.packages.config import MetricRow, TilingHint, TrainedFile, TrainedOn


def test_starts_with_the_name_and_has_a_validation_section(tiny_config):
    text = documentation(tiny_config())
    assert text.startswith("# Tiny model\n")
    assert "\n## Validation\n" in text
    assert "No metrics were measured" in text


def test_metrics_stand_in_a_table(tiny_config):
    rows = (
        MetricRow(data="nuclei", condition="dim", method="input", SSIM=0.5),
        MetricRow(data="nuclei", condition="dim", method="GVTNet", SSIM=0.912345, NRMSE=0.1),
    )
    text = documentation(tiny_config(metrics=rows))
    assert "| Data | Condition | Method | SSIM | NRMSE |" in text
    assert "| nuclei | dim | input | 0.5 |  |" in text
    assert "| nuclei | dim | GVTNet | 0.9123 | 0.1 |" in text


@pytest.mark.parametrize(
    ("normalization", "words"),
    [
        (NormalizationConfig(), "Percentiles 2 and 99.8"),
        (NormalizationConfig(source=ZScoreNormalization()), "gets mean 0"),
        (NormalizationConfig(source=FixedNormalization(mean=3, std=2)), "3 is subtracted"),
        (NormalizationConfig(source=NoNormalization()), "bring yours there"),
    ],
)
def test_says_how_images_are_normalized(tiny_config, normalization, words):
    text = documentation(tiny_config(normalization=normalization))
    assert words in text
    assert "brings predictions back" in text


def test_says_when_predictions_stay_normalized(tiny_config):
    text = documentation(tiny_config(normalization=NormalizationConfig(undo=False)))
    assert "Predictions stay in normalized units" in text


def test_tiling_hint_comes_with_its_loss(tiny_config):
    hint = TilingHint(tile=(64, 96), halo=(8, 8), pearson_r=0.9991, max_difference=0.031)
    text = documentation(tiny_config(tiling=hint))
    assert "tiles of 64×96 voxels, halo 8×8" in text
    assert "Pearson r 0.9991" in text
    assert "largest difference 0.031" in text


def test_states_limits_data_licence_and_citation(tiny_config):
    text = documentation(tiny_config())
    for words in ("50 million voxels", "--tiling exact", "Blobs; licence CC0-1.0", "Weights: BSD"):
        assert words in text
    assert "- A page. https://example.org/paper" in text


@pytest.mark.parametrize("architecture", BASELINES)
def test_other_networks_are_not_described_as_gvtnets(tiny_config, architecture):
    text = documentation(tiny_config(network=BASELINES[architecture]()))
    assert "exact" not in text
    assert "GVT" not in text
    assert ("whole image at once" in text) == (architecture == "rsgu_net")


def test_names_are_neither_marks_nor_tags(tiny_config):
    name = "a|b\n## Licence\n<script>x</script> [c](http://d) `e`.tif"
    text = documentation(
        tiny_config(
            metrics=(MetricRow(data=name, method="GVTNet", SSIM=0.5),),
            trained_on=TrainedOn(files=(TrainedFile(name=name, sha256="a" * 64, use="train"),)),
        )
    )
    assert "<script>" not in text.replace("\\<", "")
    assert text.count("\n## Licence\n") == 1
    shown = r"a\|b ## Licence \<script\>x\</script\> \[c\](http://d) \`e\`.tif"
    assert f"| {shown} |  | GVTNet | 0.5 |" in text
    assert f"trained on 1 files ({shown})" in text
