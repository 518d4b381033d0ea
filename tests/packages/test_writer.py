import socket
import zipfile

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gvtzoo import GvtzooError
from gvtzoo.images.normalization import (
    FixedNormalization,
    NoNormalization,
    NormalizationConfig,
    PercentileNormalization,
    ZScoreNormalization,
)
from gvtzoo.networks.config import DENOISING, LABEL_FREE, PROJECTION, NetworkConfig
from gvtzoo.packages.checks import check_package
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.writer import (
    _preprocessing,
    _spatial_axes,
    _test_input,
    check_description,
    load_offline,
    tags,
)
from gvtzoo.recipes.metadata import Maintainer, default_metadata

TWO_DIMENSIONAL = PackageConfig(
    task="denoising",
    network=NetworkConfig(
        dimensions=2,
        depth=2,
        encoder_blocks=(1, 0),
        downsampling=("convolution",),
        upsampling=("gvto_v2",),
        decoder_blocks=(1,),
    ),
    normalization=NormalizationConfig(),
    metadata=default_metadata("test", "denoising"),
)


def read_rdf(path):
    with zipfile.ZipFile(path) as archive:
        return yaml.safe_load(archive.read("rdf.yaml"))


def test_package_is_a_flat_zip_with_everything(tiny):
    with zipfile.ZipFile(tiny) as archive:
        names = archive.namelist()
    assert names[0] == "rdf.yaml"
    assert set(names) == {
        "rdf.yaml",
        "README.md",
        "cover.png",
        "architecture.py",
        "weights.pt",
        "torchscript.pt",
        "weights.onnx",
        "weights.safetensors",
        "test_input.npy",
        "test_output.npy",
        "sample_input.tif",
        "sample_output.tif",
    }


def test_description_is_what_older_programs_read(tiny):
    rdf = read_rdf(tiny)
    assert rdf["format_version"] == "0.5.9"
    assert rdf["id"] == "tiny-model"
    assert rdf["documentation"] == "README.md"
    assert rdf["covers"] == ["cover.png"]
    assert [axis["type"] for axis in rdf["inputs"][0]["axes"]] == [
        "batch",
        "channel",
        "space",
        "space",
    ]
    assert "halo" not in str(rdf["outputs"])
    sizes = [axis["size"] for axis in rdf["inputs"][0]["axes"] if axis["type"] == "space"]
    assert sizes == [{"min": 16, "step": 1}] * 2
    assert "parent" not in rdf["weights"]["pytorch_state_dict"]
    for converted in ("torchscript", "onnx"):
        assert rdf["weights"][converted]["parent"] == "pytorch_state_dict"


def test_description_has_one_warning_only(tiny):
    summary = load_offline(tiny, read_rdf(tiny)).validation_summary
    warnings = [warning.msg for detail in summary.details for warning in detail.warnings]
    # GitHub names are looked up on the network, so none is written.
    assert [message for message in warnings if "github_user" not in message] == []


def test_projection_has_no_z_behind(imported):
    rdf = read_rdf(imported["projection"])
    names = [[axis.get("id") for axis in rdf[place][0]["axes"]] for place in ("inputs", "outputs")]
    assert names == [["batch", "channel", "z", "y", "x"], ["batch", "channel", "y", "x"]]


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        (NoNormalization(), []),
        (
            PercentileNormalization(low=1, high=99),
            [
                {
                    "id": "scale_range",
                    "kwargs": {"axes": ["y"], "min_percentile": 1.0, "max_percentile": 99.0},
                }
            ],
        ),
        (ZScoreNormalization(), [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y"]}}]),
        (
            FixedNormalization(mean=10, std=2),
            [{"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 10.0, "std": 2.0}}],
        ),
    ],
)
def test_normalization_as_processing(normalization, expected):
    assert _preprocessing(normalization, ["y"]) == expected


@pytest.mark.parametrize(
    "normalization", [ZScoreNormalization(), FixedNormalization(mean=200, std=50)]
)
def test_other_normalizations_agree_with_bioimageio(
    normalization, tiny_config, write_tiny, tmp_path
):
    config = tiny_config(normalization=NormalizationConfig(source=normalization))
    results = {r.name: r for r in check_package(write_tiny(tmp_path / "tiny.zip", config))}
    found = results["bioimageio prediction, torchscript"]
    assert found.passed and "largest difference" in found.detail


def test_pixel_size_is_written_in_known_units_only(tiny_config):
    known = tiny_config(pixel_size={"y": 0.3, "x": 0.2}, unit="micrometer")
    assert [axis["scale"] for axis in _spatial_axes(known)] == [0.3, 0.2]
    assert {axis["unit"] for axis in _spatial_axes(known)} == {"micrometer"}
    unknown = tiny_config(pixel_size={"y": 0.3, "x": 0.2}, unit="furlong")
    assert not any("scale" in axis for axis in _spatial_axes(unknown))


@given(st.integers(1, 150), st.integers(1, 150))
def test_test_input_lies_on_the_grid(height, width):
    image = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    fitted = _test_input(image, TWO_DIMENSIONAL)
    assert fitted.dtype == np.float32
    assert fitted.shape[:2] == (1, 1)
    for size, given_size in zip(fitted.shape[2:], (height, width), strict=True):
        assert size >= 16
        assert size % 2 == 0
        assert size == max(16, given_size // 2 * 2)


def test_example_of_another_shape_is_refused(tiny_config):
    with pytest.raises(GvtzooError, match=r"shape \(3, 70, 70\)"):
        _test_input(np.zeros((3, 70, 70)), tiny_config())


def test_existing_files_are_not_overwritten_unasked(tiny_config, write_tiny, tmp_path):
    path = tmp_path / "model.zip"
    path.write_text("precious")
    with pytest.raises(GvtzooError, match="exists"):
        write_tiny(path, tiny_config())
    assert path.read_text() == "precious"
    assert write_tiny(path, tiny_config(), overwrite=True) == path
    assert zipfile.is_zipfile(path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]


def test_name_has_to_end_in_zip(tiny_config, write_tiny, tmp_path):
    with pytest.raises(GvtzooError, match=r"\.zip"):
        write_tiny(tmp_path / "model.tar", tiny_config())


def test_invalid_description_is_one_line_and_leaves_nothing(tiny_config, write_tiny, tmp_path):
    config = tiny_config()
    metadata = config.metadata.model_copy(update={"license": "mine"})
    with pytest.raises(GvtzooError, match="license") as caught:
        write_tiny(tmp_path / "model.zip", config.model_copy(update={"metadata": metadata}))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_give_nan_are_refused(tiny_config, tmp_path):
    import torch

    from gvtzoo.packages.writer import write_package

    config = tiny_config()
    network = config.network.build()
    torch.nn.init.constant_(network.first_convolution.convolution.weight, float("nan"))
    with pytest.raises(GvtzooError, match="NaN"):
        write_package(
            tmp_path / "model.zip", network=network, config=config, example=np.ones((64, 64))
        )


def test_own_cover_and_sample_are_taken(tiny_config, write_tiny, tmp_path):
    import io

    import tifffile
    from PIL import Image

    Image.new("RGB", (20, 10), "red").save(tmp_path / "mine.png")
    sample = (np.full((70, 80), 3.0), np.full((70, 80), 4.0))
    path = write_tiny(
        tmp_path / "model.zip", tiny_config(), cover=tmp_path / "mine.png", sample=sample
    )
    with zipfile.ZipFile(path) as archive:
        assert Image.open(io.BytesIO(archive.read("cover.png"))).size == (20, 10)
        stored = tifffile.imread(io.BytesIO(archive.read("sample_output.tif")))
    np.testing.assert_array_equal(stored, sample[1])


def test_check_description_names_the_mistake(tmp_path):
    (tmp_path / "rdf.yaml").write_text("type: model\nformat_version: 0.5.9\nname: No weights\n")
    with pytest.raises(GvtzooError, match="not valid"):
        check_description(tmp_path / "rdf.yaml", {})


# As BiaPy tells which of its workflows a package belongs to.
BIAPY = {
    "DENOISING": {"denoising"},
    "IMAGE_TO_IMAGE": {"pix2pix", "image-reconstruction", "image-to-image", "image-restoration"},
}


@pytest.mark.parametrize(
    ("task", "network", "workflows"),
    [
        ("denoising", DENOISING, {"DENOISING", "IMAGE_TO_IMAGE"}),
        ("label_free", LABEL_FREE, {"IMAGE_TO_IMAGE"}),
        ("projection", PROJECTION, set()),
    ],
)
def test_tags_name_the_workflows_that_a_package_belongs_to(task, network, workflows):
    said = ("denoising",) if task == "projection" else ()
    metadata = default_metadata("test", task).model_copy(update={"tags": said})
    config = PackageConfig(
        task=task, network=network, normalization=NormalizationConfig(), metadata=metadata
    )
    found = set(tags(config))
    assert {name for name, known in BIAPY.items() if known & found} == workflows


def test_nothing_is_looked_up_on_the_network(tiny_config, write_tiny, tmp_path, monkeypatch):
    """Neither by writing nor by checking: the addresses of texts, nor accounts of maintainers."""
    looked_up = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: looked_up.append(args))
    config = tiny_config()
    metadata = config.metadata.model_copy(
        update={
            "maintainers": (Maintainer(github_user="somebody-that-nobody-knows"),),
            "git_repo": "https://example.org/model",
        }
    )
    path = write_tiny(tmp_path / "tiny.zip", config.model_copy(update={"metadata": metadata}))
    failed = [result for result in check_package(path) if not result.passed]
    assert (failed, looked_up) == ([], [])
