"""Whether a package does in other programs what it does here.

bioimageio's own tests for every weights format, what Fiji and ilastik are known to need, and
gvtzoo's prediction against the test tensors and against bioimageio.core's pipeline. Nothing is
looked up on the network.

No halo is declared where a network takes its attention from the image, by measurement: with one,
bioimageio.core pads also a whole image by it, before it takes percentiles, and the padding takes
part in the attention over the image. On the golden networks and a 32×128×128 stack of nuclei, the
largest difference between its prediction and ours, as a fraction of the range, was 0.12
(denoising), 0.59 (label-free) and 0.77 (projection) with a halo of 8 voxels, 0.24, 0.57 and 0.76
with 16; away from the border it was 0.12 to 0.5 still. Without a halo it is 5e-7, at the border as
elsewhere. Client packages, whose operators have their matrices and whose normalization is fixed,
declare how far the network looks; they take off what programs pad with.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.clients import CLIENTS, CannotPredictError, TileSizes, loss
from gvtzoo.packages.code import TRUST, strangers_code
from gvtzoo.packages.config import ClientLoss
from gvtzoo.packages.exports import (
    NEWEST_IR,
    TORCHSCRIPT_OPERATORS,
    architecture_callable,
    torchscript_operators,
)
from gvtzoo.packages.onnx_files import check_names_no_files
from gvtzoo.packages.reader import ModelPackage, Package, file_digests, named_files, open_package
from gvtzoo.packages.torchscript import vetted_torchscript
from gvtzoo.packages.vetted import vetted_description
from gvtzoo.packages.writer import FORMAT_VERSION, OPSET, RDF, STEP, any_size

if TYPE_CHECKING:
    from bioimageio.spec import ValidationSummary
    from bioimageio.spec.model.v0_5 import ModelDescr

    from gvtzoo.networks import Network

WeightsFormat = Literal["pytorch_state_dict", "torchscript", "onnx"]
WEIGHTS_FORMATS: tuple[WeightsFormat, ...] = ("pytorch_state_dict", "torchscript", "onnx")
TOLERANCE = 1e-4  # of the test output's range

# What bioimageio.core, Fiji's JDLL and ilastik all run.
MOST_LETTERS = 100  # of an engine's error

SAFE_PROCESSING = {
    "ensure_dtype",
    "scale_range",
    "zero_mean_unit_variance",
    "fixed_zero_mean_unit_variance",
    "scale_linear",
    "clip",
    "binarize",
    "sigmoid",
}


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check.

    Attributes
    ----------
    name : str
    passed : bool
    detail : str
        One line: what was found.
    """

    name: str
    passed: bool
    detail: str


def check_package(path: str | Path, *, trust: bool = False) -> list[CheckResult]:
    """Run every check on a package.

    bioimageio.core runs the package's architecture file for the PyTorch weights, and its
    TorchScript. Without trust that happens where they are known to be harmless only, whatever the
    package says of its origin: else, these checks fail.

    Parameters
    ----------
    path : path
        Zip, folder, or description.
    trust : bool
        Whether code of others may run.

    Returns
    -------
    list of CheckResult
        A check that breaks off counts as failed.

    Raises
    ------
    GvtzooError
        When the package cannot be opened at all.
    """
    package = open_package(path)
    own_prediction = cache(partial(_own_prediction, package))
    described = cache(partial(_described, package, trust))
    checks: list[tuple[str, Callable[[], str]]] = [
        ("flat folder", partial(_check_flat, package)),
        ("description", partial(_check_description, package)),
        ("checksums", partial(check_files, package)),
        ("sizes", partial(_check_sizes, package)),
        ("processing", partial(_check_processing, package)),
        ("code", partial(_check_code, package, trust)),
        ("onnx version", partial(_check_onnx, package)),
        ("torchscript operators", partial(_check_torchscript, package, trust)),
        ("gvtzoo prediction", partial(_check_prediction, package, own_prediction)),
    ]
    for weights in WEIGHTS_FORMATS:
        checks += [
            (f"bioimageio test, {weights}", partial(_check_bioimageio, described, weights)),
            (
                f"bioimageio prediction, {weights}",
                partial(_check_pipeline, package, described, weights, own_prediction),
            ),
        ]
    with _quiet(), _little_garbage():
        return [run_check(name, check) for name, check in checks]


def predict_normalized(package: ModelPackage, image: np.ndarray, network: Network) -> np.ndarray:
    """gvtzoo's prediction of a whole image, left in normalized units.

    Parameters
    ----------
    package : ModelPackage
    image : ndarray
        Raw, (batch, channel, (z,) y, x), any spatial size.
    network : Network
        `package.build_network()`.

    Returns
    -------
    ndarray
        (batch, channel, (z,) y, x), float32.
    """
    import torch

    normalized = package.config.normalization.source.fit(image).apply(image)
    with torch.no_grad():
        prediction: np.ndarray = any_size(network, package.config)(
            torch.from_numpy(normalized)
        ).numpy()
    return prediction


# The weights that a program runs. bioimageio.core runs all: there they can be compared.
RUN_BY: dict[str, tuple[WeightsFormat, ...]] = {
    "Fiji (JDLL)": ("torchscript",),
    "ilastik": ("torchscript",),
    "bioimageio.core, whole image": WEIGHTS_FORMATS,
    "bioimageio.core, blocks": ("torchscript",),
    "QuPath": ("onnx",),
}


def measure_clients(
    package: ModelPackage,
    image: np.ndarray,
    name: str,
    whole: np.ndarray | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[ClientLoss, ...]:
    """What each program's way of cutting and normalizing an image costs.

    Parameters
    ----------
    package : ModelPackage
    image : ndarray
        Raw, (1, channel, (z,) y, x).
    name : str
        The image's.
    whole : ndarray, optional
        The prediction of the whole image in normalized units, (1, channel, (z,) y, x); by default
        this package's, as gvtzoo makes it.
    progress : callable, optional
        ``progress(done, all)``.

    Returns
    -------
    tuple of ClientLoss
        One for each program and format of weights that it runs.
    """
    network = package.build_network()
    if whole is None:
        whole = predict_normalized(package, image, network)
    engines = {weights: _engine(package, weights, network) for weights in WEIGHTS_FORMATS}
    sizes = TileSizes.of(package.rdf)
    operations = package.rdf["inputs"][0].get("preprocessing", [])
    jobs = [(client, weights) for client in CLIENTS for weights in RUN_BY[client]]
    flat = package.config.network.output_dimensions < package.config.network.dimensions
    rows = []
    for number, (client, weights) in enumerate(jobs):
        row = ClientLoss(client=client, weights=weights, image=name, tiles=0)
        try:
            if flat and client == "ilastik":
                raise CannotPredictError("input and output have to have the same axes")
            outcome = CLIENTS[client](image, engines[weights], sizes, operations)
            largest, correlation, seams = loss(outcome, whole)
            changes = {
                "tiles": outcome.tiles,
                "max_difference": largest,
                "pearson_r": correlation,
                "seams": seams,
            }
            row = row.model_copy(update=changes)
        except CannotPredictError as error:
            row = row.model_copy(update={"note": str(error)})
        except Exception as error:  # engines raise whatever a size that they refuse leads to
            what = str(error).strip().splitlines()[-1][:MOST_LETTERS]
            row = row.model_copy(update={"note": f"fails: {what}"})
        rows.append(row)
        if progress is not None:
            progress(number + 1, len(jobs))
    return tuple(rows)


def _engine(
    package: ModelPackage, weights: WeightsFormat, network: Network
) -> Callable[[np.ndarray], np.ndarray]:
    """From a normalized image to the output of one format's weights."""
    import io

    import torch

    if weights == "onnx":
        import onnxruntime

        content = package.read(_weights(package, weights)["source"])
        check_names_no_files(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {"input": image})[0]
    takes_any_size = TileSizes.of(package.rdf).step == (STEP,) * package.config.network.dimensions
    module: torch.nn.Module = network
    if takes_any_size or package.config.fixed is not None:
        module = any_size(network, package.config)
    if weights == "torchscript":
        content = package.read(_weights(package, weights)["source"])
        module = torch.jit.load(io.BytesIO(vetted_torchscript(content)), map_location="cpu")

    def run(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            output: np.ndarray = module(torch.from_numpy(image)).numpy()
        return output

    return run


def whole_in_units_of(
    package: ModelPackage, original: ModelPackage, image: np.ndarray
) -> np.ndarray:
    """The original model's prediction of a whole image, in a client package's units.

    Where predictions are in the source's units, both packages leave them normalized, but each by
    its own numbers.

    Parameters
    ----------
    package : ModelPackage
        Made from the original by ``gvtzoo package --attention-from``.
    original : ModelPackage
    image : ndarray
        Raw, (1, channel, (z,) y, x).
    """
    network = original.build_network()
    config = original.config.model_copy(update={"output": package.config.output})
    original = replace(original, config=config)
    whole = predict_normalized(original, image, network)
    if not config.normalization.undo:
        return whole
    own = config.normalization.source.fit(image)
    fixed = package.config.normalization.source.fit(image)
    if config.output == "sigma":
        return np.asarray(own.denormalize_scale(whole) / fixed.scale, np.float32)
    return np.asarray(fixed.apply(own.denormalize(whole)))


class _CheckError(Exception):
    """What a check found wrong, in one line."""


def run_check(name: str, check: Callable[[], str]) -> CheckResult:
    """What a check finds; one that breaks off has failed."""
    try:
        return CheckResult(name, True, check())
    except (_CheckError, GvtzooError) as error:
        return CheckResult(name, False, str(error))
    except Exception as error:  # a check that breaks off is a finding, not a crash
        message = " ".join(str(error).split())[:300]
        return CheckResult(name, False, f"{type(error).__name__}: {message}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without bioimageio's log."""
    from loguru import logger

    logger.disable("bioimageio")
    try:
        yield
    finally:
        logger.enable("bioimageio")


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Keep what is there already out of the garbage collection.

    bioimageio.core collects after every model, which takes half a second with all that PyTorch
    and bioimageio bring, and is most of the time that checking a small package takes.
    """
    import bioimageio.core  # noqa: F401

    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _check_flat(package: ModelPackage) -> str:
    names = package.names()
    nested = [name for name in names if "/" in name]
    if nested:
        raise _CheckError(f"{nested[0]} lies in a folder; Fiji reads flat packages only")
    if RDF not in names:
        raise _CheckError(f"there is no {RDF}, by which Fiji knows a package")
    return f"{len(names)} files"


def _check_description(package: ModelPackage) -> str:
    rdf = package.rdf
    if rdf.get("format_version") != FORMAT_VERSION:
        raise _CheckError(
            f"format_version is {rdf.get('format_version')}, consumers need {FORMAT_VERSION}"
        )
    if not rdf.get("id"):
        raise _CheckError("there is no id, without which Fiji does not load a package")
    files = [rdf.get("documentation"), *rdf.get("covers", [])]
    for name in files:
        if not isinstance(name, str):
            raise _CheckError(f"documentation and covers have to be plain paths, not {name!r}")
        package.read(name)
    return f"{rdf['id']} {rdf.get('version', '')}, format {FORMAT_VERSION}"


def check_files(package: Package) -> str:
    """Read every file that a description names, and compare the checksums that it states.

    Returns
    -------
    str
        One line.

    Raises
    ------
    GvtzooError
        When one is missing, damaged, or another.
    """
    names, stated = list(named_files(package.rdf)), dict(file_digests(package.rdf))
    for name in names:
        package.verify(name)
    return f"{len(names)} files, {len(stated)} with SHA-256"


def _check_code(package: ModelPackage, trust: bool) -> str:
    entry = _weights(package, "pytorch_state_dict").get("architecture")
    found = strangers_code(package)
    network = package.config.network.network_class()
    name = network.__name__
    # Before packages took any size, their callable was the network's class.
    callables = (name, architecture_callable(network))
    if found is None and not (isinstance(entry, dict) and entry.get("callable") in callables):
        found = f"its network is not {name}"
    if found is not None and not trust:
        raise _CheckError(f"not gvtzoo's own, and not run: {found}: read it, and {TRUST}")
    return f"not gvtzoo's own: {found}" if found else "all of it is gvtzoo's own"


def _check_sizes(package: ModelPackage) -> str:
    axes = [axis for axis in package.rdf["inputs"][0]["axes"] if axis["type"] == "space"]
    sizes = TileSizes.of(package.rdf)
    texts = []
    for axis, smallest, step, halo in zip(
        axes, sizes.smallest, sizes.step, sizes.halo, strict=True
    ):
        if step and smallest % step:
            raise _CheckError(f"axis {axis['id']}: min {smallest} is no multiple of step {step}")
        if smallest <= 2 * halo:
            raise _CheckError(f"axis {axis['id']}: min {smallest} is all halo, {halo} twice")
        text = f"{axis['id']} {smallest}" + (f"+n·{step}" if step else "")
        texts.append(text + (f", halo {halo}" if halo else ""))
    return "; ".join(texts)


def _check_processing(package: ModelPackage) -> str:
    operations = [
        *package.rdf["inputs"][0].get("preprocessing", []),
        *package.rdf["outputs"][0].get("postprocessing", []),
    ]
    names = [operation.get("id") for operation in operations]
    unsafe = [name for name in names if name not in SAFE_PROCESSING]
    if unsafe:
        raise _CheckError(f"{unsafe[0]} is code of its own, or not run by every program")
    return ", ".join(dict.fromkeys(names))


def _check_onnx(package: ModelPackage) -> str:
    import onnx

    model = onnx.load_from_string(package.read(_weights(package, "onnx")["source"]))
    opset = max(entry.version for entry in model.opset_import)
    if opset > OPSET or model.ir_version > NEWEST_IR:
        raise _CheckError(
            f"opset {opset}, IR {model.ir_version}: Fiji needs {OPSET} and {NEWEST_IR}"
        )
    return f"opset {opset}, IR {model.ir_version}"


def _check_torchscript(package: ModelPackage, trust: bool) -> str:
    import io

    import torch

    name = _weights(package, "torchscript")["source"]
    content = package.read(name)
    if not trust:
        try:
            content = vetted_torchscript(content)
        except GvtzooError as error:
            raise _CheckError(f"{name} {error}: {TRUST}") from error
    operators = torchscript_operators(torch.jit.load(io.BytesIO(content), map_location="cpu"))
    newer = operators - TORCHSCRIPT_OPERATORS
    if newer:
        raise _CheckError(f"{', '.join(sorted(newer))} may be newer than PyTorch 2.0")
    return f"{len(operators)} operators, all in PyTorch 2.0"


def _weights(package: ModelPackage, weights: WeightsFormat) -> dict[str, Any]:
    entry = package.rdf.get("weights", {}).get(weights)
    if entry is None:
        raise _CheckError(f"the package has no {weights} weights")
    return entry


def _check_prediction(package: ModelPackage, own_prediction: Callable[[], np.ndarray]) -> str:
    return _compare(own_prediction(), package.test_output())


def _described(package: ModelPackage, trust: bool) -> ModelDescr:
    """As bioimageio has it, once nothing in the package can run unasked."""
    from bioimageio.spec import InvalidDescr
    from bioimageio.spec.model.v0_5 import ModelDescr

    _check_code(package, trust)
    model = vetted_description(package, trust=trust)
    if isinstance(model, InvalidDescr):
        raise _CheckError(f"the description is not valid: {_first_error(model.validation_summary)}")
    if not isinstance(model, ModelDescr):
        raise _CheckError(f"it is not a model of format 0.5, but a {model.type}")
    return model


def _check_bioimageio(described: Callable[[], ModelDescr], weights: WeightsFormat) -> str:
    from bioimageio.core import test_model

    summary = test_model(_with(described(), weights), weight_format=weights)
    if summary.status != "passed":  # "valid-format" hides outputs that are not reproduced
        raise _CheckError(f"status {summary.status}: {_first_error(summary)}")
    return f"{len(summary.details)} tests"


def _with(model: ModelDescr, weights: WeightsFormat) -> ModelDescr:
    if getattr(model.weights, weights) is None:
        raise _CheckError(f"the package has no {weights} weights")
    return model


def _first_error(summary: ValidationSummary) -> str:
    errors = [error for detail in summary.details for error in detail.errors]
    return " ".join(errors[0].msg.split()) if errors else "no error named"


def _check_pipeline(
    package: ModelPackage,
    described: Callable[[], ModelDescr],
    weights: WeightsFormat,
    own_prediction: Callable[[], np.ndarray],
) -> str:
    from bioimageio.core import MemberId, Sample, Tensor, create_prediction_pipeline

    ids = [axis.get("id", axis["type"]) for axis in package.rdf["inputs"][0]["axes"]]
    # Axes by name: bioimageio.core guesses those of bare arrays by their sizes.
    tensor = Tensor(package.test_input(), dims=ids)
    model = _with(described(), weights)
    with create_prediction_pipeline(model, weight_format=weights) as pipeline:
        sample = Sample(members={MemberId("input"): tensor}, stat={}, id="test")
        output = pipeline.predict_sample_without_blocking(sample).members[MemberId("output")]
    return _compare(output.data.to_numpy(), own_prediction())


def _own_prediction(package: ModelPackage) -> np.ndarray:
    return predict_normalized(package, package.test_input(), package.build_network())


def _compare(actual: np.ndarray, expected: np.ndarray) -> str:
    if actual.shape != expected.shape:
        raise _CheckError(f"shape {actual.shape}, expected {expected.shape}")
    difference = float(np.abs(actual - expected).max() / max(np.ptp(expected), 1e-12))
    text = f"largest difference {difference:.1e} of the range"
    if not difference <= TOLERANCE:
        raise _CheckError(f"{text}, more than {TOLERANCE:.0e}")
    return text
