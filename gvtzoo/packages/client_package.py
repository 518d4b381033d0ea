"""Client packages: of networks that were given the matrices of images, for programs that cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.normalization import FixedNormalization, NoNormalization, Normalization
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.networks.fixed_attention import Constants, digest, fix, measured_radius
from gvtzoo.packages.config import ClientLoss, FixedAttention, PackageConfig
from gvtzoo.packages.reader import ModelPackage, open_package
from gvtzoo.packages.writer import check_tile, write_package

if TYPE_CHECKING:
    from gvtzoo.networks import Network

SUFFIX = "-client"
MOST_LETTERS = 128  # of a name


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output before anything is computed for it.

    Raises
    ------
    GvtzooError
    """
    if output.suffix != ".zip":
        raise GvtzooError(f"{output}: a package's name has to end in .zip")
    if output.exists() and not overwrite:
        raise GvtzooError(f"{output} exists: choose another name or overwrite it")


def client_config(config: PackageConfig, constants: Constants) -> PackageConfig:
    """What the package of a model with these constants says of itself."""
    network: Any = config.network
    if isinstance(network, NetworkConfig):
        network = network.model_copy(update={"fixed_attention": True})
    radius = measured_radius(network)
    # One more: planes that an image happens to have twice may be taken for its border.
    halo = tuple(
        -(-(r + 1) // m) * m if r else 0 for r, m in zip(radius, network.multiple, strict=True)
    )
    source: Normalization = config.normalization.source
    if not isinstance(source, NoNormalization):
        source = FixedNormalization(mean=constants.offset, std=constants.scale)
    metadata = config.metadata
    note = "with the attention and normalization of given images, for programs that cut images"
    return config.model_copy(
        update={
            "network": network,
            "normalization": config.normalization.model_copy(update={"source": source}),
            "metadata": metadata.model_copy(
                update={
                    "id": f"{metadata.id}{SUFFIX}",
                    "name": f"{metadata.name[: MOST_LETTERS - 9]} (client)",
                    "description": f"{metadata.description.rstrip('.')}; {note}.",
                    "parent": metadata.id,
                }
            ),
            "tiling": None,
            "clients": tuple(map(ClientLoss.model_validate, constants.losses)),
            "fixed": FixedAttention(
                model=metadata.id,
                images=constants.images,
                halo=halo,
                front=constants.front,
                back=constants.back,
                normalization=config.normalization.source.kind,
            ),
        }
    )


def fixed_network(network: Network, config: PackageConfig, constants: Constants) -> Network:
    """The network with these constants, in evaluation mode.

    Parameters
    ----------
    network : Network
        With the weights that the constants were taken with.
    config : PackageConfig
        Of that network.
    constants : Constants

    Raises
    ------
    GvtzooError
        When the constants are those of other weights.
    """
    if constants.weights != digest(network):
        raise GvtzooError(
            f"the attention that is kept for {config.metadata.id} belongs to other weights: take "
            f"that of an image, by `gvtzoo package {config.metadata.id} --attention-from image.tif`"
        )
    if not isinstance(config.network, NetworkConfig):
        return network
    fixed = config.network.model_copy(update={"fixed_attention": True}).build()
    fix(network, fixed, constants.matrices)  # type: ignore[arg-type]
    return fixed.eval()


def with_options(
    config: PackageConfig, tile: Sequence[int] | None = None, sigma: bool = False
) -> PackageConfig:
    """The description with a fixed tile, and with σ instead of the prediction, where wanted.

    Parameters
    ----------
    config : PackageConfig
    tile : sequence of int, optional
        (z,) y, x.
    sigma : bool

    Raises
    ------
    GvtzooError
        When the tile does not suit the network, or it has no uncertainty head.
    """
    changes: dict[str, Any] = {}
    if tile is not None:
        if config.fixed is None:
            raise GvtzooError("only networks with fixed attention are cut: give --attention-from")
        check_tile(tile, config.fixed.halo, config.network.multiple)
        changes["fixed"] = config.fixed.model_copy(update={"tile": tuple(tile)})
    if sigma:
        if not config.uncertainty:
            raise GvtzooError(f"{config.metadata.id} has no uncertainty head: it cannot give σ")
        metadata = config.metadata
        changes["output"] = "sigma"
        changes["metadata"] = metadata.model_copy(
            update={
                "id": f"{metadata.id}-sigma",
                "name": f"{metadata.name[: MOST_LETTERS - 8]} (sigma)",
                "description": f"{metadata.description.rstrip('.')}. The output is σ.",
            }
        )
    return config.model_copy(update=changes)


def write_client_package(
    package: str | Path,
    constants: Constants,
    output: str | Path,
    *,
    tile: Sequence[int] | None = None,
    sigma: bool = False,
    overwrite: bool = False,
) -> Path:
    """The client package of a model's package, from constants that are known.

    Parameters
    ----------
    package : path
        Of the model that looks at the whole image.
    constants : Constants
        Such as those that a model of the zoo has of its training images.
    output : path
        Of the new zip.
    tile : sequence of int, optional
        The one size of tiles, (z,) y, x.
    sigma : bool
        Whether the output is σ.
    overwrite : bool

    Raises
    ------
    GvtzooError
        When the package cannot be read, the constants or the tile do not suit it, or the output
        exists.
    """
    opened = open_package(package)
    config = with_options(client_config(opened.config, constants), tile, sigma)
    network = fixed_network(opened.build_network(), opened.config, constants)
    return write_package(
        output, network=network, config=config, example=example_of(opened), overwrite=overwrite
    )


def repackage(
    package: str | Path,
    output: str | Path,
    *,
    sigma: bool = False,
    overwrite: bool = False,
) -> Path:
    """A package again with today's exports; pictures, numbers and weights stay.

    Errors are those of `write_client_package`.

    Parameters
    ----------
    package : path
    output : path
        Of the zip.
    sigma : bool
        Give other programs σ instead of the prediction.
    overwrite : bool
        Whether a file that exists is replaced.
    """
    opened = open_package(package)
    return write_package(
        output,
        network=opened.build_network(),
        config=with_options(opened.config, sigma=sigma),
        example=example_of(opened),
        pictures=None if sigma else opened,
        overwrite=overwrite,
    )


def example_of(package: ModelPackage) -> np.ndarray:
    """The raw image, (channel, (z,) y, x), that a package's test tensors were made from."""
    return package.test_input()[0]
