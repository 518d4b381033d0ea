import pytest
import yaml
from pydantic import ValidationError

from gvtzoo.packages.config import (
    FORMAT,
    MetricRow,
    PackageConfig,
    SigmaCalibration,
    TilingHint,
    read_config,
)


def test_metric_row_takes_named_numbers_only():
    row = MetricRow(data="nuclei", method="GVTNet", SSIM=0.9, NRMSE=1)
    assert row.values == {"SSIM": 0.9, "NRMSE": 1.0}
    with pytest.raises(ValidationError, match="SSIM"):
        MetricRow(data="nuclei", method="GVTNet", SSIM="good")


def test_survives_yaml(tiny_config):
    config = tiny_config(
        metrics=(MetricRow(data="nuclei", condition="dim", method="GVTNet", SSIM=0.9),),
        tiling=TilingHint(tile=(64, 64), halo=(8, 8), pearson_r=0.999, max_difference=0.01),
        pixel_size={"y": 0.2, "x": 0.2},
        unit="micrometer",
    )
    stored = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    assert PackageConfig.model_validate(stored) == config


def test_uncertainty_follows_the_network(tiny_config):
    assert tiny_config().uncertainty
    with pytest.raises(ValidationError, match=r"network\.uncertainty"):
        tiny_config(uncertainty=False)


def test_unknown_keys_are_errors(tiny_config):
    with pytest.raises(ValidationError, match="colour"):
        tiny_config(colour="red")


def test_sigma_is_calibrated_between_noise_levels():
    calibration = SigmaCalibration(
        noise=(0.01, 0.1), factors=(1.0, 2.0), levels=(0.5, 0.9), multiples=(0.7, 1.8)
    )
    assert calibration.factor(0.001) == 1
    assert calibration.factor(1) == 2
    assert calibration.factor(10**-1.5) == pytest.approx(1.5)
    assert calibration.multiple(0.7) == pytest.approx(1.25)


@pytest.mark.parametrize(
    "change",
    [{"noise": (0.1, 0.01)}, {"factors": (1.0,)}, {"levels": ()}, {"multiples": (1.8, 0.7)}],
)
def test_disordered_calibrations_are_refused(change):
    given = {
        "noise": (0.01, 0.1),
        "factors": (1.0, 2.0),
        "levels": (0.5, 0.9),
        "multiples": (0.7, 1.8),
    }
    with pytest.raises(ValidationError, match="ascend"):
        SigmaCalibration(**{**given, **change})


def of_tomorrow(config, **changes):
    """What a newer version writes: another minor format, and keys in every part."""
    content = config.model_dump(mode="json")
    content |= {"format": "1.7", "colour": "red", "history": {"steps": [1, 2]}}
    content["metadata"] |= {"doi": "10.1/x"}
    content["metadata"]["authors"][0]["role"] = "all of it"
    content["network"] |= {"gating": None, "extra": []}
    content["normalization"] |= {"per_plane": False}
    return content | changes


def test_a_package_from_the_future_is_read(tiny_config):
    config = tiny_config()
    read, unknown = read_config(of_tomorrow(config))
    assert read.model_copy(update={"format": FORMAT}) == config
    assert set(unknown) == {
        *("colour", "history", "metadata.doi", "metadata.authors.0.role"),
        *("network.gating", "network.extra", "normalization.per_plane"),
    }


def test_what_is_known_leaves_nothing_out(tiny_config):
    config = tiny_config()
    assert read_config(config.model_dump(mode="json")) == (config, ())


@pytest.mark.parametrize("part", ["network", "normalization"])
@pytest.mark.parametrize("value", [True, 1, "sums", [1], {"kind": "x"}])
def test_unknown_settings_that_change_predictions_are_refused(tiny_config, part, value):
    content = of_tomorrow(tiny_config())
    content[part]["gating"] = value
    with pytest.raises(ValidationError, match="gating"):
        read_config(content)


@pytest.mark.parametrize("format_", ["2", "2.0", "1.", "1.x", "", 1.5, None, "10"])
def test_other_major_formats_are_refused(tiny_config, format_):
    with pytest.raises(ValidationError, match="format"):
        read_config(of_tomorrow(tiny_config(), format=format_))


def test_the_content_is_left_as_it_is(tiny_config):
    content = of_tomorrow(tiny_config())
    read_config(content)
    assert content == of_tomorrow(tiny_config())
