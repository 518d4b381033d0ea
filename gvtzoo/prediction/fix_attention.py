"""Models for programs that cut images: with the attention and normalization of given images.

An exact pass over an image gives the matrix of every operator, and the normalization. With these
as constants the network looks at a neighbourhood only, so that tiles with a halo give what the
whole image gives (`gvtzoo.networks.fixed_attention`, `gvtzoo.networks.any_size`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gvtzoo.core.errors import GvtzooError
from gvtzoo.core.progress import Progress
from gvtzoo.images.lazy import LazyImage
from gvtzoo.images.padding import padding_widths
from gvtzoo.networks.config import NetworkConfig
from gvtzoo.networks.fixed_attention import Constants, digest, operators
from gvtzoo.packages.client_package import client_config, fixed_network
from gvtzoo.packages.config import PackageConfig
from gvtzoo.prediction.exact.algorithm import predict_exact
from gvtzoo.prediction.exact.execution import Runner

if TYPE_CHECKING:
    from gvtzoo.prediction.model import Model


def constants_of(
    model: Model,
    images: Sequence[LazyImage],
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Constants:
    """The operators' matrices and the normalization of images, their mean over several.

    Parameters
    ----------
    model : Model
        With operators without softmax, or none.
    images : sequence of LazyImage
        Every time and position counts as an image.
    memory : int, optional
        Bytes that a pass may take.
    progress : callable, optional
        ``progress(done, all)``.

    Raises
    ------
    GvtzooError
        When the model cannot be fixed, or an image does not suit it.
    """
    check_fixable(model.config)
    frames = []
    for image in images:
        suited = model.suit(image)
        frames += [(image.name, frame) for frame in model.frames(suited.array, suited.dims)]
    if not frames:
        raise GvtzooError("there is no image to take the attention from: name one at least")
    found = operators(model.network)
    sums: dict[str, Any] = dict.fromkeys(found, 0.0)
    offsets, scales, widths = [], [], []
    for number, (_, frame) in enumerate(frames):
        prepared = model.prepare_frame(frame)
        offsets.append(prepared.normalization.offset)
        scales.append(prepared.normalization.scale)
        multiple = tuple(model.config.network.multiple)
        widths.append(tuple(padding_widths(frame.shape[1:], multiple)))
        if found:
            runner = Runner()
            predict_exact(model.network, prepared, memory=memory, runner=runner)
            for name, operator in found.items():
                sums[name] = sums[name] + runner.matrices[operator] / len(frames)
        if progress is not None:
            progress(number + 1, len(frames))
    same = widths[0] if len(set(widths)) == 1 else ((0, 0),) * len(widths[0])
    return Constants(
        images=tuple(dict.fromkeys(name or f"image {n + 1}" for n, (name, _) in enumerate(frames))),
        offset=float(np.mean(offsets)),
        scale=float(np.mean(scales)),
        front=tuple(before for before, _ in same),
        back=tuple(behind for _, behind in same),
        weights=digest(model.network),
        matrices={name: torch.from_numpy(np.asarray(matrix)) for name, matrix in sums.items()},
    )


def check_fixable(config: PackageConfig) -> None:
    """Refuse models whose network cannot be made to look at a neighbourhood only.

    Raises
    ------
    GvtzooError
    """
    network = config.network
    if config.fixed is not None:
        raise GvtzooError(
            f"{config.metadata.id} has fixed attention already: take {config.fixed.model}"
        )
    if isinstance(network, NetworkConfig) and network.has_softmax:
        raise GvtzooError(
            "attention with softmax needs every voxel of the image, and cannot be fixed: predict "
            "with gvtzoo"
        )
    if network.architecture == "rsgu_net":
        raise GvtzooError(
            "RSGU-Net's mean over the image is not fixed: predict with gvtzoo, or train a GVTNet"
        )
    if network.architecture == "ce_net":
        raise GvtzooError(
            "CE-Net pools in windows of 2, 3, 5 and 6 voxels, which tiles cut differently: predict "
            "with gvtzoo"
        )


def fix_attention(
    model: Model,
    images: Sequence[LazyImage],
    *,
    memory: int | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model with the attention and the normalization of given images; see `constants_of`.

    Parameters
    ----------
    model : Model
    images : sequence of LazyImage
    memory : int, optional
        Bytes that a pass may take.
    progress : callable, optional
        ``progress(done, all)``.
    """
    from gvtzoo.prediction.model import Model

    constants = constants_of(model, images, memory=memory, progress=progress)
    config = client_config(model.config, constants)
    return Model(fixed_network(model.network, model.config, constants), config, config.metadata.id)
