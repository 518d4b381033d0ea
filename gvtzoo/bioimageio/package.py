"""BioImage.IO packages that others made: opened without network, and without running their code.

Everything is decided by the description that gvtzoo has read itself, and run from the files that it
has looked at (`gvtzoo.packages.vetted`). Format 0.4 is converted to 0.5 by bioimageio.spec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gvtzoo.core.errors import GvtzooError
from gvtzoo.packages.code import TRUST, code_of
from gvtzoo.packages.reader import (
    Package,
    gvtzoo_config,
    named_files,
    open_files,
    read_description,
)
from gvtzoo.packages.torchscript import vetted_torchscript
from gvtzoo.packages.vetted import source_of, vetted_description

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

    from gvtzoo.packages.checks import CheckResult

# ONNX is no program; TorchScript is one, which is looked at; a state dict needs the Python code of
# its network.
WITHOUT_CODE = ("onnx", "torchscript")
WITH_CODE = ("pytorch_state_dict",)
MOST_CHANNELS = 10_000
VERSIONS = re.compile(r"0\.[345](\.\d+)*")  # of formats of models that bioimageio.spec reads


@dataclass(frozen=True)
class ForeignPackage(Package):
    """A package that gvtzoo did not make.

    Attributes
    ----------
    description : bioimageio.spec.model.v0_5.ModelDescr
        Without the files: `described` has them.
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
        known = self.known_weights()
        problems = []
        for weights in known:
            problem = None if trust else self.problem(weights)
            if problem is None:
                self.verify(source_of(self, weights))
                return weights
            problems.append(problem)
        raise GvtzooError(f"{self.name}: {problems[0]}")

    def known_weights(self) -> list[str]:
        """Weights formats of the package that gvtzoo knows to run, the best first.

        Raises
        ------
        GvtzooError
            When there is none.
        """
        if self.description.run_mode is not None:
            raise GvtzooError(f"{self.name} has a way of its own to be run, which gvtzoo has not")
        known = [name for name in (*WITHOUT_CODE, *WITH_CODE) if name in self.formats]
        if not known:
            raise GvtzooError(
                f"{self.name} has weights as {', '.join(self.formats) or 'nothing'}; gvtzoo runs "
                f"{', '.join((*WITHOUT_CODE, *WITH_CODE))}"
            )
        return known

    def problem(self, weights: str) -> str | None:
        """Why weights are not run unasked: whose code, in which file; None where they are.

        Raises
        ------
        GvtzooError
            When a file is missing or damaged.
        """
        authors = ", ".join(str(author.name) for author in self.description.authors[:3])
        whose = f"of {authors or 'unknown authors'} in {self.path}"
        code = dict(code_of(self.rdf))
        runs = {"its processing": "its processing" in code, "its network": weights in WITH_CODE}
        for what in (what for what, is_run in runs.items() if is_run):
            where = f" ({code[what]})" if code.get(what) else ""
            return (
                f"{what} is Python code{where} {whose}, which would run here: read it, and {TRUST}"
            )
        if weights != "torchscript":
            return None
        name = source_of(self, weights)
        content = self.read(name)
        try:
            vetted_torchscript(content)
        except GvtzooError as error:
            return f"{name}, TorchScript {whose}, {error}: {TRUST}"
        return None


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
    package = open_files(path)
    description = _described(package)
    from bioimageio.spec.model.v0_5 import ModelDescr

    if not isinstance(description, ModelDescr):
        raise GvtzooError(f"{package.path} is not a model, but a {package.rdf.get('type')}")
    return ForeignPackage(package.path, package.rdf, description)


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
    from gvtzoo.packages.checks import check_files, run_check

    package = open_foreign(path)
    results = [run_check("files", partial(check_files, package))]
    refused = []
    for weights in package.known_weights():
        try:
            problem = None if trust else package.problem(weights)
        except GvtzooError:
            problem = None  # a damaged file, which the test names
        if problem is None:
            test = partial(_test, package, weights, trust)
            results.append(run_check(f"bioimageio test, {weights}", test))
        else:
            refused.append(problem)
    if len(results) == 1:
        raise GvtzooError(f"{package.name}: {refused[0]}")
    return results


def _test(package: ForeignPackage, weights: Any, trust: bool) -> str:
    """bioimageio's test; what it finds wrong is raised."""
    from bioimageio.core import test_model

    with quiet():
        summary = test_model(
            vetted_description(_with_one(package, weights), trust=trust), weight_format=weights
        )
    if summary.status == "passed":
        return ""
    errors = [error for detail in summary.details for error in detail.errors]
    raise GvtzooError(" ".join(errors[0].msg.split())[:300] if errors else summary.status)


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
    needs_trust = _needs_trust(package)
    content = json.loads(json.dumps(package.rdf, default=str))
    cited = [" ".join(str(part) for part in (c.text, c.doi, c.url) if part) for c in model.cite]
    return content, [
        ("name", f"{model.name} ({model.id or 'no id'} {model.version or ''})".replace(" )", ")")),
        ("description", str(model.description or "")),
        ("made by", f"another program, BioImage.IO format {package.rdf.get('format_version')}"),
        *[("input", _tensor_line(tensor)) for tensor in model.inputs],
        *[("output", _tensor_line(tensor)) for tensor in model.outputs],
        ("weights", ", ".join(package.formats)),
        ("trust", needs_trust or "no code of its own is run"),
        ("license", str(model.license or "")),
        ("authors", ", ".join(str(author.name) for author in model.authors)),
        *[("cite", text) for text in cited],
    ]


def _needs_trust(package: ForeignPackage) -> str:
    """Why nothing runs unasked; empty where something does."""
    try:
        package.choose_weights(trust=False)
    except GvtzooError as error:
        return str(error)
    return ""


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


def described(package: ForeignPackage, weights: str, trust: bool) -> ModelDescr:
    """The description with the files behind it that prediction by some weights needs.

    Parameters
    ----------
    package : ForeignPackage
    weights : str
        The format, as the description calls it.
    trust : bool
        Whether code of the package may run.

    Raises
    ------
    GvtzooError
        When one of them is missing, damaged, or reaches further than it may.
    """
    one = _with_one(package, weights)
    code = [name for _, name in code_of(one.rdf) if name is not None]
    needed = dict.fromkeys([*named_files(one.rdf["weights"]), *code])
    with quiet():
        found = vetted_description(
            Package(one.path, _convertible(one.rdf)), trust=trust, version="latest", only=needed
        )
    return cast("ModelDescr", found)


def _with_one(package: Package, weights: str) -> Package:
    """The package with one weights format only, and without what the others need."""
    entry = {k: v for k, v in package.rdf["weights"][weights].items() if k != "parent"}
    return Package(package.path, {**package.rdf, "weights": {weights: entry}})


def _described(package: Package) -> Any:
    """As bioimageio.spec has it, without any file."""
    path, rdf = package.path, package.rdf
    _check_version(path, rdf)
    _refuse_addresses(path, rdf)
    _refuse_many_channels(path, rdf)
    from bioimageio.spec import InvalidDescr

    try:
        with quiet():
            description = vetted_description(
                replace(package, rdf=_convertible(rdf)), trust=False, version="latest", only=()
            )
    except Exception as error:  # whatever the damage of the description leads to
        raise GvtzooError(f"{path}: the description is not valid: {reason(error)}") from error
    if isinstance(description, InvalidDescr):
        errors = [e for detail in description.validation_summary.details for e in detail.errors]
        place = ".".join(map(str, errors[0].loc)) if errors else ""
        problem = " ".join(errors[0].msg.split())[:300] if errors else "unknown"
        raise GvtzooError(
            f"{path}: the description is not valid: {place or 'the whole of it'}: {problem}"
        )
    return description


def _check_version(path: Path, rdf: dict[str, Any]) -> None:
    """Refuse formats that are not known before bioimageio.spec takes them for one that is."""
    kind, version = rdf.get("type"), str(rdf.get("format_version"))
    if kind is None:
        raise GvtzooError(f"{path}: the description is not valid: type is missing: it names none")
    if kind == "model" and VERSIONS.fullmatch(version) is None:
        raise GvtzooError(
            f"{path}: format_version is {version}: gvtzoo reads models of 0.3, 0.4 and 0.5"
        )


def _convertible(rdf: dict[str, Any]) -> dict[str, Any]:
    """Format 0.4 with the sizes of outputs that have a halo stated by those of the input.

    The same may be said in two ways in format 0.4, of which format 0.5 has kept one:
    output size = scale · input size + 2 · offset.
    """
    inputs, outputs = _list(rdf.get("inputs")), _list(rdf.get("outputs"))
    if str(rdf.get("format_version")).startswith("0.5") or not inputs:
        return rdf
    first = inputs[0] if isinstance(inputs[0], dict) else {}
    changed = [_by_reference(output, first) for output in outputs]
    return {**rdf, "outputs": changed} if outputs else rdf


def _by_reference(output: Any, source: dict[str, Any]) -> Any:
    if not isinstance(output, dict) or not any(_list(output.get("halo"))):
        return output
    shape, given = _list(output.get("shape")), _list(source.get("shape"))
    axes = output.get("axes")
    if not isinstance(axes, str) or axes != source.get("axes"):
        return output
    if not len(axes) == len(shape) == len(given) or not all(
        isinstance(size, int) for size in (*shape, *given)
    ):
        return output
    # The channels of the output are its own: they do not follow from the input's.
    scales = [
        size / of if axis == "c" and of else 1.0
        for axis, size, of in zip(axes, shape, given, strict=True)
    ]
    offsets = [
        0.0 if axis == "c" else (size - of) / 2
        for axis, size, of in zip(axes, shape, given, strict=True)
    ]
    reference = {"reference_tensor": source.get("name"), "scale": scales, "offset": offsets}
    return {**output, "shape": reference}


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
