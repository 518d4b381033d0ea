"""BioImage.IO packages that others made: opened without network, and without running their code.

Everything is decided by the description that gvtzoo has read itself: a zip may hold a second one,
which another reader would take. Format 0.4 is converted to 0.5 by bioimageio.spec.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.reader import (
    DESCRIPTIONS,
    Package,
    file_digests,
    gvtzoo_config,
    read_description,
)

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

    from gvtzoo.packages.checks import CheckResult

# TorchScript and ONNX hold the network itself; a state dict needs the Python code that builds it.
WITHOUT_CODE = ("torchscript", "onnx")
WITH_CODE = ("pytorch_state_dict",)
MOST_CHANNELS = 10_000
TRUST = "read its code, and pass --trust (in Python: trust=True) if you trust it"


@dataclass(frozen=True)
class ForeignPackage(Package):
    """A package that gvtzoo did not make.

    Attributes
    ----------
    description : bioimageio.spec.model.v0_5.ModelDescr
        With the package's files behind it.
    """

    description: ModelDescr

    @property
    def name(self) -> str:
        """Its id, or else its name."""
        return str(self.description.id or self.description.name)

    @property
    def formats(self) -> tuple[str, ...]:
        """Weights formats in the package."""
        weights = self.description.weights
        return tuple(name for name in type(weights).model_fields if getattr(weights, name))

    def choose_weights(self, trust: bool) -> str:
        """The weights format to predict with; code runs only where no other way is left.

        Raises
        ------
        GvtzooError
            When there is none that gvtzoo runs, code would run without trust, or a file is
            missing or damaged.
        """
        if self.description.run_mode is not None:
            raise GvtzooError(f"{self.name} has a way of its own to be run, which gvtzoo has not")
        if _has_custom_processing(self.description) and not trust:
            raise GvtzooError(f"{self.name} processes images by code of its own: {TRUST}")
        found = [name for name in (*WITHOUT_CODE, *WITH_CODE) if name in self.formats]
        if not found:
            raise GvtzooError(
                f"{self.name} has weights as {', '.join(self.formats) or 'nothing'}; gvtzoo runs "
                f"{', '.join((*WITHOUT_CODE, *WITH_CODE))}"
            )
        if found[0] in WITH_CODE and not trust:
            raise GvtzooError(
                f"{self.name} has its network as Python code, which would run here: {TRUST}"
            )
        self.verify(str(self.rdf["weights"][found[0]].get("source")))
        for name, _ in file_digests(self.rdf["weights"][found[0]]):
            self.verify(name)
        return found[0]


def is_foreign(path: str | Path) -> bool:
    """Whether a package was made by another program.

    Raises
    ------
    GvtzooError
        When it cannot be opened.
    """
    return gvtzoo_config(read_description(path)) is None


def open_foreign(path: str | Path) -> ForeignPackage:
    """A package of format 0.4 or 0.5 from its zip, its folder, or the description in it.

    Raises
    ------
    GvtzooError
        When there is nothing, the archive is refused as by `gvtzoo.packages.reader`, or the
        description is not that of a model, or not valid.
    """
    path, rdf, description = _described(path, "latest", checked=False)
    from bioimageio.spec.model.v0_5 import ModelDescr

    if not isinstance(description, ModelDescr):
        raise GvtzooError(f"{path} is not a model, but a {rdf.get('type')}")
    return ForeignPackage(path, rdf, description)


def check_foreign(path: str | Path, trust: bool) -> list[CheckResult]:
    """bioimageio's own test of every weights format that may run.

    Parameters
    ----------
    path : path
        Zip, folder, or description.
    trust : bool
        Whether code of the package may run.

    Returns
    -------
    list of CheckResult

    Raises
    ------
    GvtzooError
        When the package cannot be opened, or nothing in it may run.
    """
    from gvtzoo.packages.checks import CheckResult

    package = open_foreign(path)
    package.choose_weights(trust)
    runnable = (*WITHOUT_CODE, *(WITH_CODE if trust else ()))
    results = []
    for weights in (name for name in runnable if name in package.formats):
        try:
            problem = _test(path, weights)
        except Exception as error:  # a test that breaks off is a finding, not a crash
            problem = reason(error)
        results.append(CheckResult(f"bioimageio test, {weights}", not problem, problem))
    return results


def _test(path: str | Path, weights: Any) -> str:
    """What bioimageio's test finds wrong; empty when it passes."""
    from bioimageio.core import test_model

    _, _, description = _described(path, "discover", checked=True)
    with quiet():
        summary = test_model(description, weight_format=weights)
    if summary.status == "passed":
        return ""
    errors = [error for detail in summary.details for error in detail.errors]
    return " ".join(errors[0].msg.split())[:300] if errors else f"status {summary.status}"


@contextmanager
def quiet() -> Iterator[None]:
    """Without bioimageio's log, and without warnings: errors are raised all the same."""
    import warnings

    from loguru import logger

    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.enable("bioimageio")


def reason(error: BaseException) -> str:
    """What went wrong somewhere in bioimageio or a network, in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def describe(package: ForeignPackage) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What ``gvtzoo info`` shows: the whole description in plain types, and lines of it."""
    model = package.description
    runnable = [name for name in package.formats if name in WITHOUT_CODE]
    needs_trust = _has_custom_processing(model) or not runnable
    content = json.loads(json.dumps(package.rdf, default=str))
    cited = [" ".join(str(part) for part in (c.text, c.doi, c.url) if part) for c in model.cite]
    return content, [
        ("name", f"{model.name} ({model.id or 'no id'} {model.version or ''})".replace(" )", ")")),
        ("description", str(model.description or "")),
        ("made by", f"another program, BioImage.IO format {package.rdf.get('format_version')}"),
        *[("input", _tensor_line(tensor)) for tensor in model.inputs],
        *[("output", _tensor_line(tensor)) for tensor in model.outputs],
        ("weights", ", ".join(package.formats)),
        ("trust", "its own code would run: --trust needed" if needs_trust else "no code needed"),
        ("license", str(model.license or "")),
        ("authors", ", ".join(str(author.name) for author in model.authors)),
        *[("cite", text) for text in cited],
    ]


def _tensor_line(tensor: Any) -> str:
    """Such as ``raw: batch × channel 1 × y 16+n·8 × x 16+n·8``."""
    return f"{tensor.id}: {' × '.join(_axis_text(axis) for axis in tensor.axes)}"


def _axis_text(axis: Any) -> str:
    size: Any = getattr(axis, "size", None)
    halo = getattr(axis, "halo", 0)
    if hasattr(size, "step"):
        text = f"{axis.id} {size.min}+n·{size.step}"
    elif hasattr(size, "axis_id"):
        text = f"{axis.id} as {size.tensor_id}'s {size.axis_id}"
    else:
        text = f"{axis.id} {size}" if isinstance(size, int) else str(axis.id)
    return f"{text} (halo {halo})" if halo else text


def _has_custom_processing(model: Any) -> bool:
    operations = [
        *(step for tensor in model.inputs for step in tensor.preprocessing),
        *(step for tensor in model.outputs for step in tensor.postprocessing),
    ]
    return any(
        getattr(step, "id", None) == "custom" or hasattr(step, "source") for step in operations
    )


def _described(
    path: str | Path, version: str, *, checked: bool
) -> tuple[Path, dict[str, Any], Any]:
    """Path, description as it is written, and as bioimageio.spec has it.

    With `checked` the test tensors are looked at too, as bioimageio's test needs it.
    """
    path = Path(path)
    rdf = read_description(path)
    if path.name in DESCRIPTIONS:
        path = path.parent
    _refuse_addresses(path, rdf)
    _refuse_many_channels(path, rdf)
    from bioimageio.spec import InvalidDescr, ValidationContext, build_description

    from gvtzoo.packages.writer import strings

    context = ValidationContext(
        root=path if path.is_dir() else zipfile.ZipFile(path),
        file_name=DESCRIPTIONS[0],
        perform_io_checks=checked,
        known_files=dict.fromkeys(strings(rdf)) if checked else {},
        progressbar=False,
        log_warnings=False,
    )
    try:
        with quiet():
            description = build_description(rdf, context=context, format_version=version)
    except Exception as error:  # whatever the damage of the description leads to
        raise GvtzooError(f"{path}: the description is not valid: {reason(error)}") from error
    if isinstance(description, InvalidDescr):
        errors = [e for detail in description.validation_summary.details for e in detail.errors]
        place = ".".join(map(str, errors[0].loc)) if errors else "format_version"
        problem = " ".join(errors[0].msg.split())[:300] if errors else "unknown"
        raise GvtzooError(f"{path}: the description is not valid: {place}: {problem}")
    return path, rdf, description


def _refuse_addresses(path: Path, rdf: dict[str, Any]) -> None:
    """Refuse what bioimageio.spec would fetch from the network while it reads a description."""
    tests: list[Any] = [*_list(rdf.get("test_inputs")), *_list(rdf.get("test_outputs"))]
    for tensor in (*_list(rdf.get("inputs")), *_list(rdf.get("outputs"))):
        if not isinstance(tensor, dict):
            continue
        if tensor.get("output_of") is not None:
            raise GvtzooError(f"{path} takes another model's output, which gvtzoo does not run")
        test = tensor.get("test_tensor")
        tests.append(test.get("source") if isinstance(test, dict) else test)
    for name in tests:
        if isinstance(name, str) and "://" in name:
            raise GvtzooError(
                f"{path}: {name} is not in the package: download the whole package as a zip"
            )


def _refuse_many_channels(path: Path, rdf: dict[str, Any]) -> None:
    """Refuse numbers of channels beyond all use: of format 0.4, each would get a name."""
    for tensor in (*_list(rdf.get("inputs")), *_list(rdf.get("outputs"))):
        if not isinstance(tensor, dict) or not isinstance(tensor.get("axes"), str):
            continue
        place, shape = tensor["axes"].find("c"), tensor.get("shape")
        sizes = (
            [shape]
            if isinstance(shape, list)
            else list(shape.values())
            if isinstance(shape, dict)
            else []
        )
        for size in sizes:
            count = size[place] if isinstance(size, list) and 0 <= place < len(size) else 0
            if isinstance(count, (int, float)) and not abs(count) <= MOST_CHANNELS:
                raise GvtzooError(
                    f"{path}: {tensor.get('name')} has {count:g} channels, more than "
                    f"{MOST_CHANNELS}: the description is damaged"
                )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
