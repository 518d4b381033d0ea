"""The prediction of the whole image, tile by tile, in memory that does not grow with it.

A GVTO without softmax needs of the whole image only V Kᵀ, a sum over its voxels (paper, Methods;
`gvtzoo.networks.operators`). So the operators' sums are taken one after the other, each in a pass
over tiles; with the sums known, everything else in the network looks at a neighbourhood only, and
a last pass over tiles predicts. Sums are float64; the result equals that of the whole image up to
rounding.

An operator with softmax needs the keys and values of every voxel, so those are gathered, whatever
the memory; its queries are still answered tile by tile.

`gvtzoo.prediction.exact.plan` decides on the tiles, and on the feature maps that are kept between
passes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gvtzoo.core.errors import GvtzooError
from gvtzoo.images.lazy import whole
from gvtzoo.networks.fixed_attention import folded
from gvtzoo.networks.gvtnet import DecoderLevel, EncoderLevel, GVTNet
from gvtzoo.networks.operators import GVTO, LinearAttention, SoftmaxAttention, attention_matrix
from gvtzoo.networks.projection import ProjectionGVTNet, ProjectionNet
from gvtzoo.prediction.exact.execution import Partial, Runner, add_up, collect
from gvtzoo.prediction.exact.functions import KeysAndValues, Outputs, WithMatrix
from gvtzoo.prediction.exact.maps import (
    Box,
    FeatureMap,
    Image,
    Sizes,
    joined_stage,
    local_stage,
    per_axis,
    reach,
    resampling_stage,
    tiles,
)
from gvtzoo.prediction.exact.plan import Plan, as_gvtnet, levels, make_plans, stages, tile_of_pass
from gvtzoo.prediction.memory import available_memory, is_out_of_memory

log = logging.getLogger(__name__)


def predict_exact(
    network: nn.Module,
    image: Any,
    *,
    memory: int | None = None,
    tile: Sequence[int] | None = None,
    sigma: bool = False,
    out: Sequence[Any] | None = None,
    plans: Sequence[Plan] | None = None,
    runner: Runner | None = None,
) -> tuple[Any, ...]:
    """Predict a whole image tile by tile.

    Out of memory, it starts again once with smaller tiles.

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
        In evaluation mode, on any device and of any type.
    image : array-like
        (channel, (z,) y, x), normalized, of sizes that are multiples of ``network.multiple``. Only
        slices of it are read.
    memory : int, optional
        Bytes to take beyond the image and the result; by default a safe share of what is free.
    tile : sequence of int, optional
        (z,) y, x, multiples of ``network.multiple``; by default what fits the memory.
    sigma : bool
        Whether σ is wanted too.
    out : sequence of array-like, optional
        What the prediction, and σ where wanted, are written into tile by tile, such as memory
        maps; (channel, (z,) y, x) each. By default new arrays. Where they have a ``region``, a
        box, only that is predicted.
    plans : sequence of Plan, optional
        What `make_plans` gave, instead of `memory` and `tile`.
    runner : Runner, optional
        Where the passes are carried out, what of them is already done, and who is told; by default
        here, from the beginning.

    Returns
    -------
    tuple of array-like
        `out`: the prediction (channel, (z,) y, x), float32, and σ where wanted.

    Raises
    ------
    GvtzooError
        For networks that are none of these, and sizes, tiles or outputs that do not suit them.
    """
    network = as_gvtnet(network)
    _check(network, image.shape, tile, sigma)
    shape = _output_shape(network, image.shape)
    out = _outputs(shape, 2 if sigma else 1, out)
    runner = runner or Runner()
    budget = available_memory(str(next(network.parameters()).device)) if memory is None else memory
    if plans is None:
        plans = make_plans(
            network,
            image.shape[1:],
            budget,
            tile,
            runner.free_disk(network),
            live_maps=runner.compiled.live_maps,
        )
        _warn_if_larger(plans, budget, tile)
    try:
        predict_planned(network, image, plans, out, runner)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or runner.journal is not None:
            raise
        log.warning("out of memory with tiles of %s voxels: trying smaller ones", plans[0].tile)
    else:
        return tuple(out)
    needed = max(plan.memory for plan in plans)
    plans = make_plans(
        network,
        image.shape[1:],
        min(budget, needed) // 4,
        disk=runner.free_disk(network),
        live_maps=runner.compiled.live_maps,
    )
    predict_planned(network, image, plans, out, runner)
    return tuple(out)


@torch.inference_mode()
def predict_planned(
    network: GVTNet | ProjectionGVTNet,
    image: Any,
    plans: Sequence[Plan],
    out: Sequence[Any],
    runner: Runner | None = None,
) -> None:
    """As `predict_exact`, by given plans (one for each of the network's stages).

    Parameters
    ----------
    network : GVTNet or ProjectionGVTNet
    image : array
        (channel, (z,) y, x), normalized and padded; read box by box.
    plans : sequence of Plan
        One for each of the network's stages.
    out : sequence of array
        What the prediction, and σ, are written into.
    runner : Runner, optional
        That computes tiles; by default in this process.
    """
    runner = runner or Runner()
    source = Image(image, next(network.parameters()))
    runner.start(sum(map(_number_of_passes, stages(network), plans)))
    log.info("exact prediction in tiles of %s voxels", "×".join(map(str, plans[0].tile)))
    if isinstance(network, ProjectionGVTNet):
        source = _project(
            network.projection, source, _Passes(network.projection, source.size, plans[0], runner)
        )
        network = network.network
    passes = _Passes(network, source.size, plans[-1], runner)
    _write(network, source, _last_features(network, source, passes), passes, out)
    runner.compiled.release()


def _warn_if_larger(plans: Sequence[Plan], budget: int, tile: Sequence[int] | None) -> None:
    needed = max(plan.memory for plan in plans)
    if tile is None and needed > budget:
        log.warning(
            "the smallest tiles take about %d MB, more than the %d MB allowed",
            needed // 10**6,
            budget // 10**6,
        )


def _check(
    network: GVTNet | ProjectionGVTNet,
    shape: Sequence[int],
    tile: Sequence[int] | None,
    sigma: bool,
) -> None:
    multiple = network.multiple
    for what, sizes in (("image", shape[1:]), ("tile", multiple if tile is None else tile)):
        if len(sizes) != len(multiple) or any(
            s < m or s % m for s, m in zip(sizes, multiple, strict=True)
        ):
            raise GvtzooError(
                f"the {what}'s sizes {tuple(sizes)} have to be multiples of {multiple}: "
                + ("pad it" if what == "image" else "choose others")
            )
    last = cast(GVTNet, stages(network)[-1])
    if sigma and last.sigma_convolution is None:
        raise GvtzooError("this network has no uncertainty head: ask for the prediction only")


def _output_shape(network: GVTNet | ProjectionGVTNet, shape: Sequence[int]) -> Sizes:
    last = cast(GVTNet, stages(network)[-1])
    channels = last.output_convolution.convolution.out_channels
    return (channels, *shape[-last.dimensions :])


def _outputs(shape: Sizes, count: int, out: Sequence[Any] | None) -> Sequence[Any]:
    """New arrays, or the given ones if they fit."""
    if out is None:
        return [np.empty(shape, np.float32) for _ in range(count)]
    if [tuple(array.shape) for array in out] != [shape] * count:
        raise GvtzooError(
            f"out has shapes {[tuple(array.shape) for array in out]}, "
            f"but {count} of {shape} are predicted"
        )
    return out


def _number_of_passes(network: GVTNet | ProjectionNet, plan: Plan) -> int:
    """One for each operator, one for each kept map, and the last."""
    operators = sum(isinstance(module, GVTO) for module in network.modules())
    depth = len(levels(network))
    encoded = depth - max(plan.finest_kept, int(isinstance(network, ProjectionNet)))
    decoded = max(0, depth - 1 - max(plan.finest_kept, 1))
    beside = len(network.bottom) if encoded and isinstance(network, ProjectionNet) else 0
    entering = isinstance(network, GVTNet) and any(
        _enters_kept(network, number, plan) for number in range(depth)
    )
    return operators + encoded + entering + decoded + beside + 1


def _enters_kept(network: GVTNet, number: int, plan: Plan) -> bool:
    """Whether a level is the finest kept, and more follows its down-sampling; see `entrance`."""
    blocks = cast(EncoderLevel, network.encoder[number]).blocks
    return number > 0 and number == plan.finest_kept and len(blocks) > 0


@dataclass(frozen=True)
class _Passes:
    """Goes over the tiles of an image of `size`."""

    network: GVTNet | ProjectionNet
    size: Sizes
    plan: Plan
    runner: Runner

    def boxes(self, wanted: FeatureMap) -> list[Box]:
        """The tiles of a map that is computed now."""
        tile = tile_of_pass(self.size, self.plan, wanted)
        return list(tiles(whole(wanted.size), tile))

    def last_boxes(self, wanted: FeatureMap, region: Box | None = None) -> list[Box]:
        """The tiles of the map that everything else is computed for, or of a region of it."""
        return list(tiles(region or whole(wanted.size), self.plan.tile))

    def keep(self, source: FeatureMap, level: int) -> FeatureMap:
        """The same map, computed now and kept if its level is to be."""
        if level < self.plan.finest_kept:
            return source
        boxes = self.boxes(source)
        features = levels(self.network)[level].features
        like = next(self.network.parameters())
        kept = self.runner.new_map(features, boxes, like, self.plan.on_disk)
        source = self.runner.compiled(source, boxes)

        def task(box: Box) -> Partial:
            kept.write(box, source.read(box))
            return []

        self.runner.run(self.network, task, boxes)
        return kept

    def operator(self, operator: GVTO, source: FeatureMap) -> FeatureMap:
        """An operator's output, after a pass over all voxels of its input."""
        if isinstance(operator.attention, LinearAttention):
            return self._linear(operator, source)
        attention = self._softmax(operator, source)

        def function(x: Tensor) -> Tensor:
            return operator.attend(x, operator.activation(x), attention)

        return resampling_stage(operator, function, source)

    def _linear(self, operator: GVTO, source: FeatureMap) -> FeatureMap:
        """Y = (V Kᵀ) Q / N, with V Kᵀ the sum over tiles and N the whole image's queries."""
        wanted = joined_stage(KeysAndValues(operator), source)
        boxes = self.boxes(wanted)
        both = self.runner.compiled(wanted, boxes)
        key_channels = operator.key.convolution.out_channels

        def task(box: Box) -> Partial:
            parts = both.read(box).tensor_split([key_channels], dim=1)
            key, value = map(operator.split_heads, parts)
            return [attention_matrix(key, value).cpu().double().numpy()]

        (total,) = self.runner.run(self.network, task, boxes, add_up)
        queries = math.prod(resampling_stage(operator, operator, source).size)
        self.runner.matrices[operator] = total[0] / queries
        matrix = torch.from_numpy(total[0] / queries).to(next(operator.parameters()).device)
        constants = folded(operator, matrix)
        return resampling_stage(operator, WithMatrix(operator), source, constants)

    def _softmax(self, operator: GVTO, source: FeatureMap) -> Callable[[Tensor], Tensor]:
        """Y = V softmax(Kᵀ Q), with K and V of all voxels."""

        def task(box: Box) -> Partial:
            parts = operator.keys_and_values(operator.activation(source.read(box)))
            return [part.float().cpu().numpy() for part in parts]

        parts = self.runner.run(self.network, task, self.boxes(source), collect)
        key, value = (
            torch.from_numpy(np.concatenate(arrays, axis=-1)).to(next(operator.parameters()).dtype)
            for arrays in (parts[::2], parts[1::2])
        )
        attention = SoftmaxAttention()
        return lambda query: attention(query, key.to(query.device), value.to(query.device))

    def layers(self, layers: Iterable[nn.Module], source: FeatureMap) -> FeatureMap:
        """The output of layers that follow each other."""
        for layer in layers:
            source = (
                self.operator(layer, source)
                if isinstance(layer, GVTO)
                else local_stage(layer, source)
            )
        return source


def _last_features(network: GVTNet, image: Image, passes: _Passes) -> FeatureMap:
    """`GVTNet.encode` and `GVTNet.decode` on maps instead of tensors."""
    encoded = []
    features = local_stage(network.first_convolution, image)
    for number, module in enumerate(network.encoder):
        encoder = cast(EncoderLevel, module)
        features = passes.layers([encoder.downsampling], features)
        if _enters_kept(network, number, passes.plan):
            features = passes.keep(features, number)
        features = passes.keep(passes.layers(encoder.blocks, features), number)
        encoded.append(features)
    # Popped and given no name of their own: kept maps are freed once the decoder is above them.
    features = passes.layers(network.bottom, encoded.pop())
    for module in network.decoder:
        decoder = cast(DecoderLevel, module)
        features = passes.layers([decoder.upsampling], features)
        features = joined_stage(decoder.merge, features, encoded.pop())
        features = passes.layers(decoder.blocks, features)
        if encoded:  # the finest map is only read once
            features = passes.keep(features, len(encoded))
    return features


def _write(
    network: GVTNet, image: Image, features: FeatureMap, passes: _Passes, out: Sequence[Any]
) -> None:
    """The last pass: the output, and σ if there is a second array for it."""

    layers = [network.output_convolution, network.keep_grain or nn.Identity()]
    reaches = [per_axis(reach(layer), network.dimensions) for layer in layers]
    margin = tuple(map(sum, zip(*reaches, strict=True)))
    outputs = Outputs(network, sigma=len(out) == 2)
    predicted: FeatureMap = joined_stage(outputs, features, image, margin=margin)
    boxes = passes.last_boxes(predicted, getattr(out[0], "region", None))
    predicted = passes.runner.compiled(predicted, boxes)

    def task(box: Box) -> Partial:
        parts = predicted.read(box)[0].float().cpu().numpy()
        for array, part in zip(out, np.split(parts, len(out)), strict=True):
            array[(slice(None), *box)] = part
        return []

    passes.runner.run(network, task, boxes)


def _project(network: ProjectionNet, image: Image, passes: _Passes) -> Image:
    """`ProjectionNet.forward` on maps: the projected image, 2D."""
    features: FeatureMap = image
    deepest = network.depth - 1
    for number, down in enumerate(network.down, start=1):
        features = passes.layers(cast(nn.Sequential, down), features)
        features = passes.keep(local_stage(network.pooling, features), number)
    for block, convolution in zip(network.bottom, network.bottom_convolutions, strict=True):
        beside = passes.layers(cast(nn.Sequential, convolution), features)
        features = joined_stage(torch.add, passes.layers([block], features), beside)
        features = passes.keep(features, deepest)
    for number, (upsampling, up) in enumerate(zip(network.upsampling, network.up, strict=True)):
        features = passes.layers([upsampling, *cast(nn.Sequential, up)], features)
        if number < deepest - 1:  # the finest map is only read once
            features = passes.keep(features, deepest - 1 - number)
    features = passes.layers([network.output_activation, network.output_convolution], features)
    weighted: FeatureMap = joined_stage(torch.mul, features, image)
    boxes = passes.last_boxes(weighted)
    weighted = passes.runner.compiled(weighted, boxes)
    depth, *plane = image.size

    def task(box: Box) -> Partial:
        projected = np.zeros((1, *plane), np.float64)
        part = weighted.read(box)[0].float().sum(dim=1)
        projected[(slice(None), *box[1:])] = part.cpu().numpy()
        return [projected]

    (projected,) = passes.runner.run(network, task, boxes, add_up)
    return Image((projected / depth).astype(np.float32), image.like)
