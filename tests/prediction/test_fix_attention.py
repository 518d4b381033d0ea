"""A model with the attention of an image gives that image in tiles as it does as a whole."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from small_networks import DENOISING

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import NormalizationConfig, ZScoreNormalization
from gvtzoo.networks.baseline_config import network_config
from gvtzoo.networks.config import AttentionConfig, AttentionConfigs, NetworkConfig
from gvtzoo.packages.checks import predict_normalized
from gvtzoo.packages.client_package import with_options
from gvtzoo.packages.clients import CLIENTS, TileSizes, loss
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.exports import save_onnx, save_torchscript
from gvtzoo.packages.writer import _linear, any_size, smallest_sizes
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.metadata import default_metadata

TOLERANCE = 1e-4  # of the range
NETWORKS = {
    "2d": NetworkConfig(**DENOISING, dimensions=2),
    "3d, down-sampling": NetworkConfig(
        **{**DENOISING, "downsampling": ("gvto_v1",), "batch_norm": True}, uncertainty=True
    ),
    "projection": NetworkConfig(**DENOISING, architecture="projection"),
    "fnet": network_config({"architecture": "fnet", "dimensions": 2, "depth": 3, "features": 2}),
    "care_unet": network_config({"architecture": "care_unet", "depth": 2, "features": 2}),
    "care_projection": network_config(
        {"architecture": "care_projection", "depth": 2, "features": 2}
    ),
}
SIZES = {2: (83, 70), 3: (21, 50, 47)}


def model_of(network, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    config = PackageConfig(
        task="projection" if network.output_dimensions < network.dimensions else "denoising",
        network=network,
        normalization=NormalizationConfig(),
        metadata=default_metadata("test", "denoising"),
    )
    return Model(network.build(), config, "test")


def image_of(network, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.gamma(2, 50, SIZES[network.dimensions]).astype(np.float32)


def engines(model: Model, folder) -> dict:
    """What runs the exports."""
    exported = any_size(model.network, model.config)
    sizes = [2 * multiple + 1 for multiple in model.config.network.multiple]
    example = torch.rand(1, 1, *sizes)
    save_torchscript(exported, example, folder / "network.pt")
    save_onnx(exported, example, folder / "network.onnx")
    script = torch.jit.load(str(folder / "network.pt"))
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", providers=["CPUExecutionProvider"]
    )

    def torchscript(x):
        with torch.no_grad():
            return script(torch.from_numpy(x)).numpy()

    return {"torchscript": torchscript, "onnx": lambda x: session.run(None, {"input": x})[0]}


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_of_any_program_are_the_whole_image(name, tmp_path):
    network = NETWORKS[name]
    model, image = model_of(network), image_of(network)
    fixed = model.fix_attention(image)
    config = fixed.config
    halo = config.fixed.halo
    flat = network.output_dimensions < network.dimensions
    tile = tuple(
        2 * h + 8 * m if h else -(-s // m) * m
        for h, m, s in zip(halo, network.multiple, image.shape, strict=True)
    )
    whole = (model.predict(image).to_numpy() - config.normalization.source.mean)[None, None]
    whole = whole / config.normalization.source.std
    operations = _linear(config.normalization.source)
    programs = ["Fiji (JDLL)", "bioimageio.core, whole image"]
    programs += ["QuPath"] if network.dimensions == 2 else []
    cutting = [] if flat else ["ilastik"]
    for engine in engines(fixed, tmp_path).values():
        fixed_size = TileSizes(tile, (0,) * len(tile), halo)
        any_tile = TileSizes(smallest_sizes(config), (1,) * len(tile), halo)
        jobs = [(program, any_tile) for program in programs]
        jobs += [(program, fixed_size) for program in cutting]
        for program, sizes in jobs:
            if program == "Fiji (JDLL)" and any(
                s < h for s, h in zip(image.shape, halo, strict=True)
            ):
                continue  # refused there
            outcome = CLIENTS[program](image[None, None], engine, sizes, operations)
            assert (program in cutting) == (outcome.tiles > 1)
            assert loss(outcome, whole)[0] <= TOLERANCE, program


def test_gvtzoo_predicts_the_same_with_it():
    network = NETWORKS["3d, down-sampling"]
    model, image = model_of(network), image_of(network)
    fixed = model.fix_attention(image)
    expected, sigma = model.predict(image, uncertainty=True)
    for tiling in ("whole", "exact"):
        found, width = fixed.predict(image, uncertainty=True, tiling=tiling)
        for one, other in ((found, expected), (width, sigma)):
            assert np.abs(one - other).max() <= TOLERANCE * np.ptp(other.to_numpy())


def test_the_mean_over_several_images():
    network = NETWORKS["2d"]
    model = model_of(network)
    images = [image_of(network, seed) for seed in range(3)]
    images[1] = images[1][:60] + 100
    fixed = model.fix_attention(images)
    singles = [model.fix_attention(image).config.normalization.source for image in images]
    source = fixed.config.normalization.source
    assert source.mean == pytest.approx(np.mean([single.mean for single in singles]))
    assert source.std == pytest.approx(np.mean([single.std for single in singles]))
    assert fixed.config.fixed.front == fixed.config.fixed.back == (0, 0)
    assert fixed.config.metadata.parent == model.config.metadata.id


def test_z_scores_become_constants():
    model = model_of(NETWORKS["2d"])
    normalization = NormalizationConfig(source=ZScoreNormalization())
    model.config = model.config.model_copy(update={"normalization": normalization})
    image = image_of(model.config.network)
    source = model.fix_attention(image).config.normalization.source
    assert source.mean == pytest.approx(image.mean(), rel=1e-5)
    assert source.std == pytest.approx(image.std(), rel=1e-4)


SOFTMAX = AttentionConfig(softmax=True)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            NetworkConfig(
                **DENOISING, dimensions=2, attention=AttentionConfigs(same=SOFTMAX, up=SOFTMAX)
            ),
            "softmax",
        ),
        (network_config({"architecture": "rsgu_net", "dimensions": 2, "features": 2}), "RSGU"),
        (network_config({"architecture": "ce_net", "dimensions": 2, "features": 2}), "CE-Net"),
    ],
)
def test_what_cannot_be_fixed_is_refused_in_a_line(network, words):
    with pytest.raises(GvtzooError, match=words) as caught:
        model_of(network).fix_attention(image_of(network))
    assert "\n" not in str(caught.value)


def test_fixed_twice_and_without_images_are_refused():
    model = model_of(NETWORKS["2d"])
    fixed = model.fix_attention(image_of(model.config.network))
    with pytest.raises(GvtzooError, match="already"):
        fixed.fix_attention(image_of(model.config.network))
    with pytest.raises(GvtzooError, match="no image"):
        model.fix_attention([])


def test_tiles_and_sigma_have_to_suit():
    model = model_of(NETWORKS["2d"])
    fixed = model.fix_attention(image_of(model.config.network)).config
    with pytest.raises(GvtzooError, match="attention-from"):
        with_options(model.config, tile=(64, 64))
    for tile in ((8, 8), (65, 64), (64, 64, 64)):
        with pytest.raises(GvtzooError, match="do not suit"):
            with_options(fixed, tile=tile)
    assert with_options(fixed, tile=(64, 64)).fixed.tile == (64, 64)
    with pytest.raises(GvtzooError, match="uncertainty head"):
        with_options(fixed, sigma=True)


def test_checks_predict_as_programs_do():
    class Package:
        config = model_of(NETWORKS["2d"]).fix_attention(image_of(NETWORKS["2d"])).config

    network = Package.config.network.build().eval()
    image = image_of(NETWORKS["2d"], 5)[None, None]
    assert predict_normalized(Package(), image, network).shape == image.shape
