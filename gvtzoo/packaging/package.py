"""Opening packages: nothing is unpacked to disk, and no code from a package runs."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import ValidationError

from gvtzoo.errors import GvtzooError
from gvtzoo.packaging.config import PackageConfig

if TYPE_CHECKING:
    from torch import Tensor

    from gvtzoo.networks import GVTNet, ProjectionGVTNet

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")
LARGEST_PACKAGE = 8 * 2**30  # bytes, unpacked
LARGEST_DESCRIPTION = 2**24
MOST_MEMBERS = 1000
LARGEST_COMPRESSION = 1000  # unpacked : packed, beyond what deflate does to weights and images


@dataclass(frozen=True)
class ModelPackage:
    """A package that gvtzoo made.

    Attributes
    ----------
    path : Path
        Of the zip or the folder.
    config : PackageConfig
    rdf : dict
        The whole description.
    """

    path: Path
    config: PackageConfig
    rdf: dict[str, Any]

    def read(self, name: str) -> bytes:
        """The content of one of the package's files.

        Raises
        ------
        GvtzooError
            When there is no such file, or its SHA-256 is not that of the description.
        """
        content = _read(self.path, name)
        expected = dict(file_digests(self.rdf)).get(name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise GvtzooError(
                f"{self.path}: {name} is damaged (its SHA-256 is not that of the description): "
                "download or make the package again"
            )
        return content

    def names(self) -> list[str]:
        """Names of the package's files."""
        return _names(self.path)

    def build_network(self) -> GVTNet | ProjectionGVTNet:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises
        ------
        GvtzooError
            When the weights are damaged or do not fit the network.
        """
        network = self.config.network.build()
        state = self._state()
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise GvtzooError(f"{self.path}: {_first_line(error, 'weights do not fit')}") from error
        return network.eval()

    def _state(self) -> dict[str, Tensor]:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load

        name = _weights_file(self.rdf)
        content = self.read(name)
        try:
            if name.endswith(".safetensors"):
                return load(content)
            return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        except SafetensorError as error:
            raise GvtzooError(f"{self.path}: {name} is not a safetensors file") from error
        except Exception as error:  # torch.load raises whatever the damage leads to
            raise GvtzooError(f"{self.path}: {name} does not hold plain weights") from error

    def test_input(self) -> np.ndarray:
        """Raw image, (1, channel, (z,) y, x), float32."""
        return self._tensor("inputs")

    def test_output(self) -> np.ndarray:
        """Prediction for `test_input` in normalized units, (1, channel, (z,) y, x), float32."""
        return self._tensor("outputs")

    def _tensor(self, place: str) -> np.ndarray:
        try:
            name = self.rdf[place][0]["test_tensor"]["source"]
            return np.load(io.BytesIO(self.read(name)), allow_pickle=False)
        except (KeyError, IndexError, TypeError, EOFError) as error:
            raise GvtzooError(f"{self.path}: the description names no test {place}") from error
        except ValueError as error:
            if isinstance(error, GvtzooError):
                raise
            raise GvtzooError(f"{self.path}: the test {place} are not an npy file") from error


def open_package(path: str | Path) -> ModelPackage:
    """A package from its zip, its folder, or the ``rdf.yaml`` or ``bioimageio.yaml`` in it.

    The SHA-256 of the weights is checked against the description.

    Raises
    ------
    GvtzooError
        When there is nothing, or the archive is damaged, could write outside its folder, unpacks
        to an absurd size, or was not made by gvtzoo.
    """
    path = Path(path)
    if not path.exists():
        raise GvtzooError(f"{path} does not exist")
    if path.name in DESCRIPTIONS:
        path = path.parent
    names = _names(path)
    found = [name for name in DESCRIPTIONS if name in names]
    if not found:
        raise GvtzooError(f"{path} is not a model package: there is no rdf.yaml in it")
    rdf = _description(path, found[0])
    package = ModelPackage(path, _config(path, rdf), rdf)
    package.read(_weights_file(rdf))
    return package


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(entry.name for entry in path.iterdir() if entry.is_file())
    with _archive(path) as archive:
        return archive.namelist()


def _read(path: Path, name: str) -> bytes:
    if not _is_plain(name):
        raise GvtzooError(f"{path}: {name!r} is not the name of a file in the package")
    try:
        if path.is_dir():
            return (path / name).read_bytes()
        with _archive(path) as archive:
            return archive.read(name)
    except (KeyError, OSError) as error:
        raise GvtzooError(f"{path}: there is no readable file {name} in the package") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise GvtzooError(f"{path}: {name} is damaged: {error}") from error
    except Exception as error:  # zlib.error and its kin
        raise GvtzooError(f"{path}: {name} is damaged: {error}") from error


def _archive(path: Path) -> zipfile.ZipFile:
    """The zip, opened, after a look at what its members would do."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise GvtzooError(f"{path} is not a zip file, or it is truncated") from error
    problem = next(_problems(archive), None)
    if problem is not None:
        archive.close()
        raise GvtzooError(f"{path} is refused: {problem}")
    return archive


def _problems(archive: zipfile.ZipFile) -> Iterator[str]:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        yield f"it has {len(members)} members, more than {MOST_MEMBERS}"
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if not _stays_inside(name):
            yield f"member {name!r} would be written outside its folder"
        if stat.S_ISLNK(member.external_attr >> 16):
            yield f"member {name!r} is a link"
        if name in seen:
            yield f"member {name!r} is there twice"
        if member.flag_bits & 1:
            yield f"member {name!r} is encrypted"
        if member.file_size > LARGEST_COMPRESSION * max(member.compress_size, 1024):
            yield f"member {name!r} unpacks to {member.file_size} bytes from {member.compress_size}"
        seen.add(name)
    total = sum(member.file_size for member in members)
    if total > LARGEST_PACKAGE:
        yield f"it unpacks to {total} bytes, more than {LARGEST_PACKAGE}"


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name)


def _is_plain(name: str) -> bool:
    """A relative path inside the package (addresses on the network are not)."""
    return bool(name) and _stays_inside(name)


def _description(path: Path, name: str) -> dict[str, Any]:
    text = _read(path, name)
    if len(text) > LARGEST_DESCRIPTION:
        raise GvtzooError(f"{path}: {name} has {len(text)} bytes, more than {LARGEST_DESCRIPTION}")
    try:
        # Aliases of aliases make a short text a description of any size.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise GvtzooError(f"{path}: {name} has YAML aliases, which are not read")
        rdf = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise GvtzooError(f"{path}: {_first_line(error, f'{name} is not valid YAML')}") from error
    if not isinstance(rdf, dict):
        raise GvtzooError(f"{path}: {name} is not a description: it has no keys")
    return rdf


def _config(path: Path, rdf: dict[str, Any]) -> PackageConfig:
    config = rdf.get("config")
    content = config.get("gvtzoo") if isinstance(config, dict) else None
    if content is None:
        raise GvtzooError(
            f"{path} was not made by gvtzoo: it has no config.gvtzoo, so there is no telling its "
            "network and normalization"
        )
    try:
        return PackageConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["config.gvtzoo", *map(str, first["loc"])])
        raise GvtzooError(
            f"{path}: {place}: {first['msg'].removeprefix('Value error, ')} (made by another "
            "version of gvtzoo?)"
        ) from error


def _weights_file(rdf: dict[str, Any]) -> str:
    """The safetensors attachment, or else the PyTorch state dict."""
    attachments = rdf.get("attachments")
    for attachment in attachments if isinstance(attachments, list) else []:
        source = attachment.get("source") if isinstance(attachment, dict) else attachment
        if isinstance(source, str) and _is_plain(source) and source.endswith(".safetensors"):
            return source
    try:
        source = rdf["weights"]["pytorch_state_dict"]["source"]
    except (KeyError, TypeError) as error:
        raise GvtzooError("the description names no weights that gvtzoo reads") from error
    if not isinstance(source, str) or not _is_plain(source):
        raise GvtzooError(f"the weights {source!r} are not a file in the package")
    return source


def file_digests(content: Any) -> Iterator[tuple[str, str]]:
    """Names and SHA-256 of every file that a description names."""
    if isinstance(content, dict):
        source, digest = content.get("source"), content.get("sha256")
        if isinstance(source, str) and isinstance(digest, str):
            yield source, digest
    values = content.values() if isinstance(content, dict) else content
    if isinstance(content, (dict, list)):
        for value in values:
            yield from file_digests(value)


def _first_line(error: Exception, what: str) -> str:
    detail = " ".join(str(error).split())[:200]
    return f"{what}: {detail}" if detail else what
