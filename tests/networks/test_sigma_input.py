"""Both forms of the σ head give the reference's numbers: whole, tiled, in blocks and exported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from gvtzoo.images.normalization import NoNormalization, NormalizationConfig
from gvtzoo.networks.config import DENOISING, NetworkConfig
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.exports import architecture_source
from gvtzoo.packages.tensorflow import read_checkpoint, to_state_dict
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.model import Model
from gvtzoo.recipes.metadata import default_metadata

FOLDER = Path(__file__).parent.parent / "golden" / "training" / "denoise_sigma"
FORMS = {"features": "sigma_repository", "activated": "sigma_published"}
TOLERANCE = 1e-5


class Form:
    """The network with one form of the head, and what the reference says of it."""

    def __init__(self, name: str) -> None:
        changes = {"features": 8, "uncertainty": True, "sigma_input": name}
        self.config: NetworkConfig = DENOISING.model_copy(update=changes)
        self.network = self.config.build().eval()
        state = to_state_dict(read_checkpoint(FOLDER), self.config)
        self.network.load_state_dict(state, strict=False)
        with np.load(FOLDER / "sigma.npz") as stored:
            self.input, self.output, self.sigma = (
                np.moveaxis(stored[key].astype(np.float32), -1, 1)
                for key in ("input", "output", FORMS[name])
            )

    def check(self, output: np.ndarray, sigma: np.ndarray, number: int | slice = slice(None)):
        assert np.abs(output - self.output[number]).max() < TOLERANCE
        assert np.abs(sigma - self.sigma[number]).max() < TOLERANCE


@pytest.fixture(scope="module", params=FORMS)
def form(request) -> Form:
    return Form(request.param)


def test_the_forms_differ_by_far_more_than_the_tolerance():
    repository, published = (Form(name).sigma for name in FORMS)
    assert np.abs(repository - published).max() > 1000 * TOLERANCE


def test_packages_that_do_not_say_have_the_repositorys_form():
    settings = DENOISING.model_dump(mode="json", exclude={"sigma_input"})
    assert NetworkConfig.model_validate(settings).sigma_input == "features"


def test_whole(form):
    with torch.no_grad():
        output, sigma = form.network.forward_with_sigma(torch.from_numpy(form.input))
    form.check(output.numpy(), sigma.numpy())


def test_exactly_tile_by_tile(form):
    for number, image in enumerate(form.input):
        output, sigma = predict_exact(form.network, image, tile=(4, 8, 8), sigma=True)
        form.check(output, sigma, number)


@pytest.mark.parametrize("tiling", ["whole", "exact", "blocks"])
def test_predictions_with_uncertainty(form, tiling):
    as_it_is = NormalizationConfig(source=NoNormalization(), target=NoNormalization(), undo=False)
    config = PackageConfig(
        task="denoising",
        network=form.config,
        normalization=as_it_is,
        metadata=default_metadata("golden", "denoising"),
    )
    image, size = form.input[0, 0], form.input.shape[2:]
    output, sigma = Model(form.network, config).predict(
        image, axes="ZYX", uncertainty=True, tiling=tiling, block=size, overlap=(0, 0, 0)
    )
    form.check(output.to_numpy()[None], sigma.to_numpy()[None], 0)


def test_the_architecture_file_with_its_arguments(form, tmp_path):
    path = tmp_path / "architecture.py"
    path.write_text(architecture_source(form.config.network_class()))
    spec = importlib.util.spec_from_file_location("architecture", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.GVTNet(**form.config.arguments()).eval()
    network.load_state_dict(form.network.state_dict())
    with torch.no_grad():
        output, sigma = network.forward_with_sigma(torch.from_numpy(form.input))
    form.check(output.numpy(), sigma.numpy())


class Both(torch.nn.Module):
    """Prediction and σ as the outputs of one graph."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.forward_with_sigma(x)


def test_torchscript(form):
    example = torch.zeros(1, 1, 4, 8, 8)
    with torch.no_grad():
        traced = torch.jit.trace(Both(form.network), example, check_trace=False)
        output, sigma = traced(torch.from_numpy(form.input))
    form.check(output.numpy(), sigma.numpy())


def test_onnx(form, tmp_path):
    import onnxruntime

    path = tmp_path / "both.onnx"
    axes = {0: "batch", 2: "z", 3: "y", 4: "x"}
    with torch.no_grad():
        torch.onnx.export(
            Both(form.network),
            (torch.zeros(1, 1, 4, 8, 8),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["output", "sigma"],
            dynamic_axes=dict.fromkeys(("input", "output", "sigma"), axes),
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    form.check(*session.run(None, {"input": form.input}))
