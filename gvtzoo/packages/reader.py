"""Opening packages: nothing is unpacked to disk, and no code from a package runs."""

from __future__ import annotations

import hashlib
import io
import logging
import pickletools
import re
import stat
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from gvtzoo.core.errors import GvtzooError, one_line
from gvtzoo.core.files import file_in
from gvtzoo.core.yaml import LARGEST as LARGEST_YAML
from gvtzoo.core.yaml import read_yaml
from gvtzoo.packages.onnx_files import may_name_files

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gvtzoo.networks import Network
    from gvtzoo.packages.config import PackageConfig

log = logging.getLogger(__name__)

# The first of these that is there, or else the one file with the suffix.
DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")
DESCRIPTION_SUFFIX = ".bioimageio.yaml"
# Keys of descriptions that hold names of files, and those below which anything may stand.
FILE_KEYS = {
    *("source", "documentation", "covers", "file", "files"),
    *("test_inputs", "test_outputs", "sample_inputs", "sample_outputs"),
}
FREE_KEYS = {"config", "kwargs"}
LARGEST_PACKAGE = 8 * 2**30  # bytes, unpacked
LARGEST_TENSOR = 2**28
LARGEST_GRAPH = 2**31  # bytes, which is also all that one file of ONNX can have
MOST_MEMBERS = 1000
LARGEST_DIRECTORY = 2**20  # bytes in which a zip lists its members
LARGEST_COMPRESSION = 100  # unpacked : packed; weights and images come nowhere near it
ALWAYS_UNPACKED = 2**24  # bytes, to which any member may unpack
PIECE = 2**20
PICKLED = re.compile(
    r"collections OrderedDict|torch \w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)"
)


@dataclass(frozen=True)
class Package:
    """A model package, whoever made it.

    Attributes
    ----------
    path : Path
        Of the zip or the folder.
    rdf : dict
        The whole description.
    """

    path: Path
    rdf: dict[str, Any]

    def read(self, name: str, largest: int = LARGEST_PACKAGE) -> bytes:
        """The content of one of the package's files, of `largest` bytes at most.

        Raises
        ------
        GvtzooError
            When there is no such file, it is too large, or its SHA-256 is not that of the
            description.
        """
        return b"".join(self._checked(name, largest))

    def verify(self, name: str) -> None:
        """Check the SHA-256 of a file as `read` does, without holding it in memory."""
        deque(self._checked(name, LARGEST_PACKAGE), maxlen=0)

    def _checked(self, name: str, largest: int) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in _pieces(self.path, name, largest):
            digest.update(piece)
            yield piece
        expected = {text for file, text in file_digests(self.rdf) if file == name}
        if expected - {digest.hexdigest()}:
            raise GvtzooError(
                f"{self.path}: {name} is damaged (its SHA-256 is not that of the description): "
                "download or make the package again"
            )

    def names(self) -> list[str]:
        """Names of the package's files."""
        return _names(self.path)


@dataclass(frozen=True)
class ModelPackage(Package):
    """A package that gvtzoo made.

    Attributes
    ----------
    config : PackageConfig
    """

    config: PackageConfig

    def build_network(self) -> Network:
        """The network with its weights, in evaluation mode, on the CPU.

        Raises
        ------
        GvtzooError
            When the weights are damaged or do not fit the network.
        """
        state = self._state()
        network = self.config.network.build()
        network.load_state_dict(state)
        return network.eval()

    def read_graph(self) -> bytes | None:
        """The network as ONNX; None where there is none that takes a whole image as it is.

        A network of a fixed attention has one that looks for the borders of tiles in what it sees;
        one that may name other files is left alone.
        """
        weights = self.rdf.get("weights")
        entry = weights.get("onnx") if isinstance(weights, dict) else None
        name = entry.get("source") if isinstance(entry, dict) else None
        if name is None or getattr(self.config.network, "fixed_attention", False):
            return None
        content = self.read(name, LARGEST_GRAPH)
        return None if may_name_files(content) else content

    def _state(self) -> dict[str, Tensor]:
        """The weights, which fit the network."""
        import torch

        # Shapes only: a description may name a network of any size.
        with torch.device("meta"):
            expected = self.config.network.build().state_dict()
        name = _weights_file(self.rdf)
        # float64 and the file's own description at most
        largest = sum(8 * tensor.numel() for tensor in expected.values()) + 2**20
        state = _read_weights(self.read(name, largest), name, self.path)
        problem = next(_misfits(state, expected), None)
        if problem is not None:
            raise GvtzooError(f"{self.path}: the weights do not fit the network: {problem}")
        return state

    def test_input(self) -> np.ndarray:
        """Raw image, (1, channel, (z,) y, x), float32."""
        return self._tensor("inputs")

    def test_output(self) -> np.ndarray:
        """Prediction for `test_input` in normalized units, (1, channel, (z,) y, x), float32."""
        return self._tensor("outputs")

    def _tensor(self, place: str) -> np.ndarray:
        from gvtzoo.images.npy import read_npy

        try:
            name = self.rdf[place][0]["test_tensor"]["source"]
        except (KeyError, IndexError, TypeError) as error:
            raise GvtzooError(f"{self.path}: the description names no test {place}") from error
        content = self.read(name, LARGEST_TENSOR)
        try:
            return read_npy(io.BytesIO(content), len(content))
        except GvtzooError as error:
            raise GvtzooError(f"{self.path}: the test {place}, {name}: {error}") from error


def open_package(path: str | Path) -> ModelPackage:
    """A package from its zip, its folder, or the ``rdf.yaml`` or ``bioimageio.yaml`` in it.

    The SHA-256 of the weights is checked against the description.

    Raises
    ------
    GvtzooError
        When there is nothing, or the archive is damaged, could write outside its folder, unpacks
        to an absurd size, or was not made by gvtzoo.
    """
    opened = open_files(path)
    config = _config(opened.path, opened.rdf)
    package = ModelPackage(opened.path, opened.rdf, config)
    package.verify(_weights_file(package.rdf))
    return package


def open_files(path: str | Path) -> Package:
    """A package of any origin, from its zip, its folder, or the description in it.

    Nothing but the description is read or checked.

    Raises
    ------
    GvtzooError
        When there is none, or the archive is refused as by `open_package`.
    """
    path = Path(path)
    if not path.exists():
        raise GvtzooError(f"{path} does not exist")
    if is_description(path.name):
        return Package(path.parent, _description(path.parent, path.name))
    return Package(path, _description(path, _find_description(path)))


def read_description(path: str | Path) -> dict[str, Any]:
    """The whole description of a package: that of `open_files`."""
    return open_files(path).rdf


def is_description(name: str) -> bool:
    """Whether a file is a description, by its name."""
    return name in DESCRIPTIONS or name.endswith(DESCRIPTION_SUFFIX)


def is_package_folder(path: Path) -> bool:
    """Whether a package lies unpacked in a folder."""
    return path.is_dir() and any(is_description(file.name) for file in path.iterdir())


def _find_description(path: Path) -> str:
    names = [name for name in _names(path) if is_description(name) and "/" not in name]
    for name in DESCRIPTIONS:
        if name in names:
            return name
    if len(names) > 1:
        raise GvtzooError(f"{path} has several descriptions: name one of {', '.join(names)}")
    if not names:
        raise GvtzooError(
            f"{path} is not a model package: there is no {', '.join(DESCRIPTIONS)} or "
            f"*{DESCRIPTION_SUFFIX} in it"
        )
    return names[0]


def gvtzoo_config(rdf: dict[str, Any]) -> Any:
    """What a description holds for gvtzoo, unchecked; None where it was not made by gvtzoo."""
    config = rdf.get("config")
    return config.get("gvtzoo") if isinstance(config, dict) else None


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return sorted(entry.name for entry in path.iterdir() if entry.is_file())
    with _archive(path) as archive:
        return archive.namelist()


def _pieces(path: Path, name: Any, largest: int) -> Iterator[bytes]:
    """A file's content, a piece at a time, since a zip need not tell the truth about sizes."""
    if not isinstance(name, str) or not _is_plain(name):
        raise GvtzooError(f"{path}: {name!r} is not the name of a file in the package")
    size = 0
    try:
        with ExitStack() as stack:
            if path.is_dir():
                file: Any = stack.enter_context(file_in(path, name).open("rb"))
            else:
                file = stack.enter_context(stack.enter_context(_archive(path)).open(name))
            while piece := file.read(PIECE):
                size += len(piece)
                if size > largest:
                    raise GvtzooError(f"{path}: {name} is refused: it has over {largest} bytes")
                yield piece
    except GvtzooError:
        raise
    except (KeyError, OSError) as error:
        raise GvtzooError(f"{path}: there is no readable file {name} in the package") from error
    except Exception as error:  # zipfile raises whatever the damage leads to
        raise GvtzooError(f"{path}: {name} is damaged: {error}") from error


class _SmallReads(io.BufferedReader):
    """A file of which only small parts can be read.

    Opening a zip reads its whole directory, and makes much more of it in memory.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has {size} bytes")
        return super().read(size)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The zip, opened, after a look at what its members would do."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_SmallReads(io.FileIO(path)))
            archive = stack.enter_context(zipfile.ZipFile(file))
        except Exception as error:  # zipfile raises whatever the damage leads to
            raise GvtzooError(
                f"{path} is not a zip file, or it is truncated or damaged: {error}"
            ) from error
        problem = next(_problems(archive), None)
        if problem is not None:
            raise GvtzooError(f"{path} is refused: {problem}")
        yield archive


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
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            yield f"member {name!r} is compressed in a way that is not read"
        if member.file_size > max(ALWAYS_UNPACKED, LARGEST_COMPRESSION * member.compress_size):
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
    text = b"".join(_pieces(path, name, LARGEST_YAML))
    try:
        rdf = read_yaml(text)
    except GvtzooError as error:
        raise GvtzooError(f"{path}: {name}: {error}") from error
    if not isinstance(rdf, dict):
        raise GvtzooError(f"{path}: {name} is not a description: it has no keys")
    return rdf


def _config(path: Path, rdf: dict[str, Any]) -> PackageConfig:
    from pydantic import ValidationError

    from gvtzoo.packages.config import read_config

    content = gvtzoo_config(rdf)
    if content is None:
        raise GvtzooError(
            f"{path} was not made by gvtzoo: it has no config.gvtzoo, so there is no telling its "
            "network and normalization"
        )
    try:
        config, unknown = read_config(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["config.gvtzoo", *map(str, first["loc"])])
        raise GvtzooError(
            f"{path}: {place}: {first['msg'].removeprefix('Value error, ')} (made by another "
            "version of gvtzoo?)"
        ) from error
    if unknown:
        log.warning(
            "%s was made by a newer gvtzoo, whose %s this one does not know and leaves out",
            path,
            one_line(", ".join(unknown)),
        )
    return config


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
    """Names and SHA-256 of every file whose checksum a description states."""
    if isinstance(content, dict):
        source, digest = content.get("source"), content.get("sha256")
        if isinstance(source, str) and digest is not None:
            yield source, str(digest)
        # Format 0.4 names code like network.py:Network.
        code, digest = content.get("architecture"), content.get("architecture_sha256")
        if isinstance(code, str) and digest is not None:
            yield code.rpartition(":")[0], str(digest)
    values = content.values() if isinstance(content, dict) else content
    if isinstance(content, (dict, list)):
        for value in values:
            yield from file_digests(value)


def named_files(rdf: dict[str, Any]) -> Iterator[str]:
    """Every file of the package that a description names, of formats 0.4 and 0.5.

    Not addresses on the network.
    """
    found = dict.fromkeys(_named(rdf))
    yield from (name for name in found if name and "://" not in name)


def _named(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for value in content:
            yield from _named(value)
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == "architecture" and isinstance(value, str):
            yield value.rpartition(":")[0]
        elif key == "dependencies" and isinstance(value, str):
            yield value.rpartition(":")[2]  # conda:environment.yaml
        elif key == "icon":
            yield from [value] if isinstance(value, str) and "." in value else []  # no emoji
        elif key in FILE_KEYS:
            entries = value if isinstance(value, list) else [value]
            yield from (entry for entry in entries if isinstance(entry, str))
        if key not in FREE_KEYS:
            yield from _named(value)


def _read_weights(content: bytes, name: str, path: Path) -> dict[str, Any]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        if name.endswith(".safetensors"):
            return load(content)
        check_pickle(io.BytesIO(content))
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except GvtzooError as error:
        raise GvtzooError(f"{path}: {name} does not hold plain weights: {error}") from error
    except SafetensorError as error:
        raise GvtzooError(f"{path}: {name} is not a safetensors file: {error}") from error
    except Exception as error:  # torch.load raises whatever the damage leads to
        raise GvtzooError(f"{path}: {name} does not hold plain weights") from error


def check_pickle(file: IO[bytes]) -> None:
    """Refuse what ``weights_only=True`` takes and weights do not need.

    It makes bytes of any number, for one, and unpacks what is compressed.

    Raises
    ------
    GvtzooError
        The message goes on after the file's name.
    Exception
        Whatever damage leads to.
    """
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.file_size != member.compress_size:
                raise GvtzooError(f"{member.filename!r} in it is compressed")
            if not member.filename.endswith(".pkl"):
                continue
            for opcode, argument, _ in pickletools.genops(archive.read(member)):
                if "GLOBAL" in opcode.name and not PICKLED.fullmatch(str(argument)):
                    raise GvtzooError(f"it names {argument}")


def _misfits(state: Any, expected: dict[str, Tensor]) -> Iterator[str]:
    import torch

    if not isinstance(state, dict):
        yield f"it holds a {type(state).__name__}, not tensors by name"
        return
    for name in expected.keys() - state.keys():
        yield f"{name} is missing"
    for name, tensor in state.items():
        if name not in expected:
            yield f"there is no {name!r} in it"
        elif not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            yield f"{name} is not a plain tensor"
        elif tensor.is_meta or tensor.is_quantized or tensor.is_complex():
            yield f"{name} is not a tensor of real numbers"
        elif tensor.shape != expected[name].shape:
            yield (
                f"{name} has the shape {tuple(tensor.shape)}, "
                f"{tuple(expected[name].shape)} is needed"
            )
