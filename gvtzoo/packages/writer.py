"""Writing packages in the BioImage.IO model format.

The description is written as format 0.5.9, in which documentation and covers are plain paths:
Fiji's parser and ilastik's bioimageio.core 0.10.2 read nothing newer, and the newest
bioimageio.core reads it too.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.files import write_atomically
from gvtzoo.images.calibration import LENGTHS
from gvtzoo.images.normalization import (
    FixedNormalization,
    Normalization,
    PercentileNormalization,
    ZScoreNormalization,
)
from gvtzoo.images.padding import pad_to_multiple
from gvtzoo.packages.card_text import documentation
from gvtzoo.packages.clients import CORE_BLOCK
from gvtzoo.packages.config import PackageConfig
from gvtzoo.packages.exports import (
    OPSET,
    architecture_callable,
    architecture_source,
    evaluating,
    save_onnx,
    save_safetensors,
    save_state_dict,
    save_torchscript,
)
from gvtzoo.recipes.metadata import ORIGINS, ModelMetadata

if TYPE_CHECKING:
    from bioimageio.spec import InvalidDescr, ResourceDescr

    from gvtzoo.networks import Network
    from gvtzoo.networks.any_size import AnySize
    from gvtzoo.packages.reader import Package

FORMAT_VERSION = "0.5.9"
RDF = "rdf.yaml"
STATE_DICT, TORCHSCRIPT, ONNX = "weights.pt", "torchscript.pt", "weights.onnx"
PICTURES = ("sample_input.tif", "sample_output.tif", "cover.png")
SAFETENSORS = "weights.safetensors"

# Of an image that a network sees as a whole. Any size would do; ilastik's tile is min + n, with the
# smallest n that brings any axis to 64 (3D) or 512 (2D): these give 49×64×64 and 512×512.
SMALLEST = {2: (16, 16), 3: (1, 16, 16)}
STEP = 1

# Of a tile beyond its halo on both sides: the larger, the less is computed twice, and the more
# memory a tile takes. The smaller one where the larger would exceed LARGEST_TILE.
INSIDE = (64, 32)
LARGEST_TILE = {2: 512, 3: 128}

# Of the format's units of length; a pixel size in another stands in config.gvtzoo only.
SPACE_UNITS = tuple(LENGTHS)

TAGS = {
    "denoising": ("denoising", "image-restoration", "fluorescence-light-microscopy"),
    "label_free": ("in-silico-labeling", "image-to-image", "transmission-light-microscopy"),
    "projection": ("projection", "fluorescence-light-microscopy"),
}
# BiaPy opens a package as the workflow that its tags name. What it opens gives an image of the
# input's axes, which a projection does not.
WORKFLOWS = ("denoising", "image-restoration", "image-reconstruction", "image-to-image", "pix2pix")


def write_package(
    path: str | Path,
    *,
    network: Network,
    config: PackageConfig,
    example: np.ndarray,
    sample: tuple[np.ndarray, np.ndarray] | None = None,
    cover: str | Path | None = None,
    pictures: Package | None = None,
    overwrite: bool = False,
) -> Path:
    """A flat zip with the description, the weights in three formats, test tensors and pictures.

    Parameters
    ----------
    path : path
        Of the zip.
    network : Network
        `config.network`'s, with its weights, on the CPU.
    config : PackageConfig
    example : ndarray
        Raw image, ((channel,) (z,) y, x), from which the test tensors are made: cropped to the
        network's grid, or padded where it is too small.
    sample : pair of ndarray, optional
        Input and output to show, (z,) y, x; the test tensors by default.
    cover : path, optional
        A picture (png), best twice as wide as high; input and output side by side by default.
    pictures : Package, optional
        Whose sample tensors and cover are taken instead.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    Path
        Of the zip.

    Raises
    ------
    GvtzooError
        When the file exists, an export is not exact, or the description is not valid.
    """
    import torch

    path = Path(path)
    if path.suffix != ".zip":
        raise GvtzooError(f"{path}: a package's name has to end in .zip")
    if path.exists() and not overwrite:
        raise GvtzooError(f"{path} exists: choose another name or overwrite it")
    test_input = _test_input(example, config)
    normalized = config.normalization.source.fit(test_input).apply(test_input)
    exported = any_size(network, config)
    with evaluating(exported):
        test_output = exported(torch.from_numpy(normalized)).numpy()
    if not np.isfinite(test_output).all():
        raise GvtzooError("the network's output has NaN or infinite values: check its weights")

    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "test_input.npy", test_input)
        np.save(folder / "test_output.npy", test_output)
        _save_samples(folder, sample or (test_input[0], test_output[0]))
        _save_cover(folder / "cover.png", cover, test_input[0], test_output[0])
        for kept in PICTURES if pictures is not None else ():
            if pictures is not None and kept in pictures.names():
                (folder / kept).write_bytes(pictures.read(kept))
        _save_weights(folder, exported, config)
        (folder / "README.md").write_text(documentation(config), encoding="utf-8")
        rdf = description(config, folder)
        (folder / RDF).write_text(to_yaml(rdf), encoding="utf-8")
        check_description(folder / RDF, rdf)
        with write_atomically(path) as temporary:
            zip_folder(folder, temporary)
    return path


def any_size(network: Network, config: PackageConfig) -> AnySize:
    """The network as other programs get it: of images, or tiles, of any size."""
    from gvtzoo.networks.any_size import AnySize

    return AnySize(network, tiles(config), config.output == "sigma")


def tiles(config: PackageConfig) -> dict[str, Sequence[int]] | None:
    """The argument of `AnySize`."""
    if config.fixed is None:
        return None
    return {name: list(getattr(config.fixed, name)) for name in ("halo", "front", "back")}


def smallest_sizes(config: PackageConfig) -> tuple[int, ...]:
    """`min` of the spatial axes, (z,) y, x; every size above it is taken, in steps of 1.

    Of a package for tiles, a tile that ilastik takes as it is, on the network's grid.
    """
    network, fixed = config.network, config.fixed
    if fixed is None:
        return SMALLEST[network.dimensions]
    if fixed.tile is not None:
        return fixed.tile
    sizes = []
    smallest = SMALLEST[network.dimensions]
    for halo, multiple, least in zip(fixed.halo, network.multiple, smallest, strict=True):
        if halo == 0:
            sizes.append(-(-least // multiple) * multiple)
            continue
        wanted = [2 * halo + inside for inside in INSIDE]
        largest = LARGEST_TILE[network.dimensions]
        size = next((w for w in wanted if w <= largest), wanted[-1])
        # In 3D ilastik's tile is the smallest. In 2D its and QuPath's have 512 anyway, so that
        # bioimageio.core's blocks, which are 10 more than the smallest, can be on the grid.
        more = CORE_BLOCK if network.dimensions == 2 and size + CORE_BLOCK <= largest else 0
        sizes.append(-(-(size + more) // multiple) * multiple - more)
    return tuple(sizes)


def check_tile(tile: Sequence[int], halo: Sequence[int], multiple: Sequence[int]) -> None:
    """Refuse a fixed tile that does not suit a network.

    Parameters
    ----------
    tile, halo : sequence of int
        (z,) y, x, in voxels.
    multiple : sequence of int
        Of what sizes have to be multiples.

    Raises
    ------
    GvtzooError
    """
    least = tuple(2 * h + m for h, m in zip(halo, multiple, strict=True))
    fits = len(tile) == len(least) and all(
        t >= n and t % m == 0 for t, n, m in zip(tile, least, multiple, strict=True)
    )
    if not fits:
        raise GvtzooError(
            f"tiles of {tuple(tile)} do not suit this network: multiples of {tuple(multiple)} from "
            f"{least} on are needed, with its halo of {tuple(halo)} on both sides"
        )


def _test_input(example: np.ndarray, config: PackageConfig) -> np.ndarray:
    """(1, channel, (z,) y, x), float32, not below the smallest sizes.

    On the network's grid, as far as the image allows. For tiles, an image that is too small is
    repeated: mirrored, it would be taken for one with a halo.
    """
    dimensions, channels = config.network.dimensions, config.network.input_channels
    if example.ndim == dimensions:
        example = example[np.newaxis]
    if example.ndim != dimensions + 1 or example.shape[0] != channels:
        raise GvtzooError(
            f"the example image has shape {example.shape}, the network needs {channels} "
            f"channel(s) and {dimensions} spatial axes"
        )
    smallest = smallest_sizes(config)
    if config.fixed is not None:
        return _repeated(example, smallest)
    crop = tuple(
        slice(0, size // multiple * multiple)
        if size // multiple * multiple >= least
        else slice(None)
        for size, least, multiple in zip(
            example.shape[1:], smallest, config.network.multiple, strict=True
        )
    )
    fitted, _ = pad_to_multiple(
        example[(slice(None), *crop)], (1, *config.network.multiple), (1, *smallest)
    )
    return np.ascontiguousarray(fitted[np.newaxis], np.float32)


def _repeated(example: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    cropped = example[(slice(None), *(slice(0, size) for size in sizes))]
    missing = [
        (0, max(0, size - given)) for size, given in zip(sizes, cropped.shape[1:], strict=True)
    ]
    return np.ascontiguousarray(np.pad(cropped, [(0, 0), *missing], mode="wrap")[None], np.float32)


def _save_weights(folder: Path, exported: AnySize, config: PackageConfig) -> None:
    import torch

    sizes = [max(2, 2 * multiple) + 1 for multiple in config.network.multiple]
    small = torch.rand(
        (1, config.network.input_channels, *sizes), generator=torch.Generator().manual_seed(0)
    )
    save_state_dict(exported, folder / STATE_DICT)
    save_safetensors(exported, folder / SAFETENSORS)
    save_torchscript(exported, small, folder / TORCHSCRIPT)
    save_onnx(exported, small, folder / ONNX)
    source = architecture_source(config.network.network_class())
    (folder / "architecture.py").write_text(source, encoding="utf-8")


def _save_samples(folder: Path, sample: Sequence[np.ndarray]) -> None:
    import tifffile

    for name, image in zip(("sample_input.tif", "sample_output.tif"), sample, strict=True):
        image = np.squeeze(image, 0) if image.ndim > 2 and image.shape[0] == 1 else image
        is_stack = image.ndim <= 3
        tifffile.imwrite(
            folder / name,
            np.asarray(image, np.float32),
            imagej=is_stack,
            photometric="minisblack",
            metadata={"axes": "ZYX"[-image.ndim :]} if is_stack else {"axes": "CZYX"},
        )


def _save_cover(
    path: Path, cover: str | Path | None, source: np.ndarray, prediction: np.ndarray
) -> None:
    """A given picture, or the middle slices of input and output side by side, 2:1."""
    from PIL import Image

    if cover is not None:
        with Image.open(cover) as given:
            given.save(path)
        return
    halves = []
    for image in (source, prediction):
        plane = image[0, image.shape[1] // 2] if image.ndim == 4 else image[0]
        side = min(plane.shape)
        plane = plane[:side, :side]
        low, high = np.percentile(plane, (0.5, 99.5))
        grey = np.clip((plane - low) / max(high - low, 1e-12), 0, 1)
        halves.append(Image.fromarray((255 * grey).astype(np.uint8)).resize((256, 256)))
    picture = Image.new("L", (512, 256))
    for place, half in enumerate(halves):
        picture.paste(half, (256 * place, 0))
    picture.save(path)


def description(config: PackageConfig, folder: Path) -> dict[str, Any]:
    """The content of ``rdf.yaml`` for the files in a folder."""
    import torch

    metadata = config.metadata
    version = torch.__version__.split("+")[0]
    arguments = config.network.arguments() | {"sigma": config.output == "sigma"}
    if config.fixed is not None:
        arguments["tiles"] = tiles(config)
    architecture = architecture_callable(config.network.network_class())

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": sha256((folder / name).read_bytes())}

    converted = {"parent": "pytorch_state_dict"}
    rdf: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "id": metadata.id,
        "name": metadata.name,
        "version": metadata.version,
        "description": metadata.description,
        "authors": [author.model_dump(exclude_none=True) for author in metadata.authors],
        "cite": [entry.model_dump(exclude_none=True) for entry in _citations(config)],
        "tags": tags(config),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "documentation": "README.md",
        "covers": ["cover.png"],
        "attachments": [file(SAFETENSORS)],
        "inputs": [_input(config, file)],
        "outputs": [_output(config, file)],
        "weights": {
            "pytorch_state_dict": {
                **file(STATE_DICT),
                "architecture": {
                    **file("architecture.py"),
                    "callable": architecture,
                    "kwargs": arguments,
                },
                "pytorch_version": version,
            },
            "torchscript": {**file(TORCHSCRIPT), **converted, "pytorch_version": version},
            "onnx": {**file(ONNX), **converted, "opset_version": OPSET},
        },
        "config": {"gvtzoo": config.model_dump(mode="json")},
    }
    return rdf | _optional(metadata)


def _optional(metadata: ModelMetadata) -> dict[str, Any]:
    """What a description has only where it was given."""
    given: dict[str, Any] = {"license": metadata.license, "git_repo": metadata.git_repo}
    if metadata.maintainers:
        given["maintainers"] = [
            person.model_dump(exclude_none=True) for person in metadata.maintainers
        ]
    if metadata.parent is not None:
        given["parent"] = {"id": metadata.parent}
    ids = [source.bioimageio for source in metadata.data if source.bioimageio]
    if ids:
        given["training_data"] = {"id": ids[0]}
    return {key: value for key, value in given.items() if value}


def sha256(content: bytes) -> str:
    """Hexadecimal digest, as descriptions hold it."""
    return hashlib.sha256(content).hexdigest()


def _citations(config: PackageConfig) -> Iterable[Any]:
    data = (source.citation for source in config.metadata.data)
    return dict.fromkeys([*config.metadata.cite, *(entry for entry in data if entry is not None)])


def tags(config: PackageConfig) -> list[str]:
    """Tags of a package: its task, its network, and the programs that it suits."""
    dimensions = f"{config.network.dimensions}d"
    title = ORIGINS[config.network.architecture].title.lower().replace(" ", "-")
    general = [title, "unet", "pytorch", dimensions, *_programs(config)]
    found = dict.fromkeys([*config.metadata.tags, *TAGS[config.task], *general])
    if config.network.output_dimensions < config.network.dimensions:
        return [tag for tag in found if tag not in WORKFLOWS]
    return list(found)


# Tags of the programs, by their names in the table of losses.
PROGRAMS = {"Fiji (JDLL)": ("fiji", "deepimagej"), "ilastik": ("ilastik",), "QuPath": ("qupath",)}
SMALL_LOSS = 0.01  # of the range


def _programs(config: PackageConfig) -> list[str]:
    """Tags of the programs that lose little, by measurement.

    Where nothing was measured, of Fiji for networks that see all of an image, which it hands over
    whole, and of ilastik for those that see tiles.
    """
    flat = config.network.output_dimensions < config.network.dimensions
    measured = {row.client for row in config.clients}
    unmeasured = {"Fiji (JDLL)"} if config.fixed is None else {"ilastik"}
    losses = {
        name: [row.max_difference for row in config.clients if row.client == name]
        for name in PROGRAMS
    }
    suited = [
        name
        for name in PROGRAMS
        if (name in measured and all(x is not None and x < SMALL_LOSS for x in losses[name]))
        or (not measured and name in unmeasured)
    ]
    if flat and "ilastik" in suited:
        suited.remove("ilastik")
    return [tag for name in suited for tag in PROGRAMS[name]]


def _spatial_axes(config: PackageConfig) -> list[dict[str, Any]]:
    """z, y and x of the input, with pixel size where it is known."""
    smallest = smallest_sizes(config)
    fixed = config.fixed is not None and config.fixed.tile is not None
    axes = []
    for name, least in zip("zyx"[-len(smallest) :], smallest, strict=True):
        axis: dict[str, Any] = {"type": "space", "id": name}
        if config.unit in SPACE_UNITS and name in config.pixel_size:
            axis |= {"unit": config.unit, "scale": config.pixel_size[name]}
        axes.append(axis | {"size": least if fixed else {"min": least, "step": STEP}})
    return axes


def _channels(count: int, name: str) -> dict[str, Any]:
    names = [name] if count == 1 else [f"{name}{index}" for index in range(count)]
    return {"type": "channel", "id": "channel", "channel_names": names}


BATCH = {"type": "batch", "id": "batch"}
ENSURE_FLOAT32 = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
FLOAT32 = {"type": "float32"}


def _input(config: PackageConfig, file: Any) -> dict[str, Any]:
    axes = [BATCH, _channels(config.network.input_channels, "raw")]
    axes += _spatial_axes(config)
    # Batch stays out of the statistics' axes: with it they accumulate over images.
    statistics = ["channel", *"zyx"[-config.network.dimensions :]]
    operations = (
        _preprocessing(config.normalization.source, statistics)
        if config.fixed is None
        else _linear(config.normalization.source)
    )
    return {
        "id": "input",
        "description": "raw image",
        "axes": axes,
        "test_tensor": file("test_input.npy"),
        "sample_tensor": file("sample_input.tif"),
        "data": FLOAT32,
        "preprocessing": [ENSURE_FLOAT32, *operations, ENSURE_FLOAT32],
    }


def _preprocessing(normalization: Normalization, axes: list[str]) -> list[dict[str, Any]]:
    if isinstance(normalization, PercentileNormalization):
        low, high = float(normalization.low), float(normalization.high)
        kwargs: dict[str, Any] = {"axes": axes, "min_percentile": low, "max_percentile": high}
        return [{"id": "scale_range", "kwargs": kwargs}]
    if isinstance(normalization, ZScoreNormalization):
        return [{"id": "zero_mean_unit_variance", "kwargs": {"axes": axes}}]
    if isinstance(normalization, FixedNormalization):
        kwargs = {"mean": float(normalization.mean), "std": float(normalization.std)}
        return [{"id": "fixed_zero_mean_unit_variance", "kwargs": kwargs}]
    return []


def _linear(normalization: Normalization) -> list[dict[str, Any]]:
    """A normalization that does not depend on the image, as one multiplication and addition."""
    if isinstance(normalization, FixedNormalization):
        gain, offset = 1 / normalization.std, -normalization.mean / normalization.std
        return [{"id": "scale_linear", "kwargs": {"gain": float(gain), "offset": float(offset)}}]
    return []


def _output(config: PackageConfig, file: Any) -> dict[str, Any]:
    """The output stays in normalized units: inverse percentiles cannot be expressed."""
    axes = [BATCH, _channels(config.network.output_channels, config.output)]
    # A projection's output is without z. A halo is declared where the network looks at a
    # neighbourhood only: gvtzoo.packages.checks says why.
    kept = config.network.output_dimensions
    halos = (0,) * kept if config.fixed is None else config.fixed.halo[-kept:]
    for axis, halo in zip(_spatial_axes(config)[-kept:], halos, strict=True):
        size = {"tensor_id": "input", "axis_id": axis["id"]}
        axes.append(axis | {"size": size} | ({"halo": halo} if halo else {}))
    what = "prediction" if config.output == "prediction" else "σ of the prediction"
    return {
        "id": "output",
        "description": f"{what}, in normalized units",
        "axes": axes,
        "test_tensor": file("test_output.npy"),
        "sample_tensor": file("sample_output.tif"),
        "data": FLOAT32,
        "postprocessing": [ENSURE_FLOAT32],
    }


class _PlainDumper(yaml.SafeDumper):
    """Without anchors and aliases, which not every parser follows."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(content: dict[str, Any]) -> str:
    """The text of ``rdf.yaml``."""
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def load_offline(path: Path, rdf: dict[str, Any]) -> ResourceDescr | InvalidDescr:
    """A description, checked by bioimageio.spec with its files, but without network.

    Addresses that a description names are looked up unless they are known already.
    """
    from bioimageio.spec import load_description

    known: dict[str, Any] = dict.fromkeys(strings(rdf))
    _know_accounts(rdf)
    return load_description(path, perform_io_checks=True, known_files=known)


def _know_accounts(rdf: dict[str, Any]) -> None:
    """Take accounts on GitHub as they are: bioimageio.spec would ask GitHub for each.

    bioimage.io itself does, when a package is uploaded there. There is no public way to leave out
    this one of the checks.
    """
    from bioimageio.spec._internal import field_validation

    people = [*(rdf.get("authors") or ()), *(rdf.get("maintainers") or ())]
    accounts = [person.get("github_user") for person in people if isinstance(person, dict)]
    field_validation.KNOWN_GITHUB_USERS.update(
        account.lower() for account in accounts if isinstance(account, str)
    )


def strings(content: Any) -> set[str]:
    """Every text in a description: all that could be an address or the name of a file."""
    if isinstance(content, str):
        return {content}
    inner = content.values() if isinstance(content, dict) else content
    if not isinstance(content, (dict, list)):
        return set()
    return set().union(*(strings(value) for value in inner))


def check_description(path: Path, rdf: dict[str, Any]) -> None:
    """Check a description and the files that it names with bioimageio.spec, without network.

    Raises
    ------
    GvtzooError
        With the first mistake.
    """
    summary = load_offline(path, rdf).validation_summary
    if summary.status == "failed":
        error = next(error for detail in summary.details for error in detail.errors)
        place, problem = ".".join(map(str, error.loc)), " ".join(error.msg.split())
        raise GvtzooError(f"the package's description is not valid: {place}: {problem}")


def zip_folder(folder: Path, path: Path) -> None:
    """The folder's files, the description first."""
    names = sorted(file.name for file in folder.iterdir())
    names.sort(key=lambda name: name != RDF)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(folder / name, name)
