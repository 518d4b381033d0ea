"""The README.md of a package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gvtzoo.core.errors import one_line
from gvtzoo.images.normalization import (
    FixedNormalization,
    NoNormalization,
    Normalization,
    PercentileNormalization,
)
from gvtzoo.packages.config import ClientLoss, MetricRow, PackageConfig, TrainedOn
from gvtzoo.recipes.metadata import Citation, DataSource, ModelMetadata

PURPOSE = {
    "denoising": "Predicts a clean image from a noisy one.",
    "label_free": "Predicts a fluorescence image from a transmitted-light image.",
    "projection": "Projects the surface in a noisy stack to one clean 2D image.",
}
NOT_FOR = (
    "The network answers for images like those it was trained on: the same structure, microscope "
    "and pixel size. Elsewhere it may invent or remove structures. Predictions are not "
    "measurements: compare with real images before drawing conclusions from them."
)
CHOSE = " †"
CHOSEN = (
    "These images chose the weights among those of the training, so the model is better on them "
    "than on images that had no part in it."
)
MOST_NAMED = 5  # files
FIJI_VOXELS = "50 million voxels"
MOST_NAMES = 4
MARKS = re.compile(r"[\\`*\[\]<>|]")  # of Markdown, and of HTML in it


def documentation(config: PackageConfig) -> str:
    """The package's README.md, in Markdown."""
    metadata = config.metadata
    sections = [
        f"# {metadata.name}",
        metadata.description,
        "## What it is for",
        metadata.intended_use or PURPOSE[config.task],
        "## What it is not for",
        "\n\n".join(part for part in (metadata.limitations, NOT_FOR) if part),
        "## How to use it",
        _usage(config),
        "## Normalization",
        _normalization(config),
        "## Tiling and image size",
        _tiling(config),
        "## In other programs",
        _programs(config.clients),
        "## Uncertainty",
        _uncertainty(config),
        "## Validation",
        _validation(config.metrics),
        "## Training data",
        _training_data(config),
        "## Licence",
        f"Weights: {_license(metadata)} Architecture file (`architecture.py`): BSD-3-Clause.",
        "## Citation",
        "\n".join(f"- {_citation(entry)}" for entry in metadata.cite) or "None given.",
    ]
    return "\n\n".join(sections) + "\n"


def _usage(config: PackageConfig) -> str:
    channels = config.network.input_channels
    axes = ("C" if channels > 1 else "") + "ZYX"[-config.network.dimensions :]
    return f"""\
- gvtzoo, any image size, output in the image's units:
  `gvtzoo predict MODEL.zip image.tif -o out.tif`
- Python:

  ```python
  import gvtzoo

  model = gvtzoo.load("MODEL.zip")
  prediction = model.predict(image, axes="{axes}")
  ```

- Fiji: unpack the zip into a folder of its own in Fiji's `models` folder, then run
  *Plugins › DeepImageJ › DeepImageJ Run*. {_fiji(config)}
- {_ilastik(config)}
- bioimageio.core: images of any size; {_blocks(config)}"""


def _fiji(config: PackageConfig) -> str:
    if config.fixed is not None and config.fixed.tile is not None:
        return "Images of any size are cut into tiles; those under a third of a tile are refused."
    tiling = " --tiling exact" if config.exact and config.fixed is None else ""
    return (
        "It hands over the whole image, of any size. Images above "
        f"{FIJI_VOXELS} never finish there: predict those with `gvtzoo predict{tiling}`."
    )


def _ilastik(config: PackageConfig) -> str:
    if config.network.output_dimensions < config.network.dimensions:
        return "ilastik: not supported, since input and output have different axes."
    how = "ilastik, *Neural Network Classification*: open the zip as the model."
    if config.fixed is not None:
        return f"{how} It expects images like those that this package was made from, see below."
    tiles = (
        "ilastik normalizes and predicts every tile by itself, so tiles may differ in brightness. "
        "A package for tiles is made from an image of yours by "
        "`gvtzoo package MODEL.zip --attention-from image.tif -o for_tiles.zip`."
    )
    return f"{how} {tiles}"


def _blocks(config: PackageConfig) -> str:
    if config.fixed is None:
        return "no blocks." if config.network.sees_whole_image else "blocks lose at their borders."
    if config.fixed.tile is not None:
        return "in blocks of this package's tile."
    multiple = max(config.network.multiple)
    return f"in blocks (`--blockwise N`) with N a multiple of {multiple}."


def _normalization(config: PackageConfig) -> str:
    undone = (
        "gvtzoo brings predictions back to the input's units; every other program leaves them in "
        "normalized units, since the package format cannot express the way back."
        if config.normalization.undo
        else "Predictions stay in normalized units."
    )
    expected = "" if config.fixed is None else f" {_expected(config)}"
    return f"{_operation(config.normalization.source)}{expected} {undone}"


def _expected(config: PackageConfig) -> str:
    """What intensities a package with fixed numbers is made for."""
    source, fixed = config.normalization.source, config.fixed
    assert fixed is not None
    if not isinstance(source, FixedNormalization):
        return ""
    like = (
        f"an intensity of about {source.mean:.4g} in the background and of about "
        f"{source.mean + source.std:.4g} in the brightest structures"
        if fixed.normalization == "percentile"
        else f"a mean of about {source.mean:.4g} and a standard deviation of {source.std:.4g}"
    )
    return (
        "These numbers are those of the images that this package was made from: yours should have "
        f"{like}. For images taken with another exposure, gain or background, make a package of "
        f"your own: `gvtzoo package {fixed.model} --attention-from image.tif -o for_tiles.zip`."
    )


def _operation(normalization: Normalization) -> str:
    if isinstance(normalization, PercentileNormalization):
        return (
            f"Percentiles {normalization.low:g} and {normalization.high:g} of the whole image "
            "become 0 and 1."
        )
    if isinstance(normalization, FixedNormalization):
        return f"{normalization.mean:g} is subtracted, the rest divided by {normalization.std:g}."
    if isinstance(normalization, NoNormalization):
        return (
            "None: the network takes images that have mean 0 and standard deviation 1 already; "
            "bring yours there before predicting."
        )
    return "The whole image gets mean 0 and standard deviation 1."


def _tiling(config: PackageConfig) -> str:
    if config.fixed is not None:
        return _fixed(config)
    seen = (
        "The network looks at the whole image at once, so cutting the image into tiles gives "
        "another result; nothing warns of it."
        if config.network.sees_whole_image
        else "The network looks at the surroundings of every voxel, so tiles have to overlap."
    )
    large = (
        "`gvtzoo predict` predicts whole images, and with `--tiling exact` gives the same result "
        "in little memory."
        if config.exact
        else "`gvtzoo predict` predicts whole images; those that do not fit the memory, in "
        "overlapping blocks."
    )
    text = f"{seen} {large}"
    hint = config.tiling
    if hint is None:
        return text
    tile, halo = ("×".join(map(str, sizes)) for sizes in (hint.tile, hint.halo))
    losses = []
    if hint.pearson_r is not None:
        losses.append(f"Pearson r {hint.pearson_r:.6g} to the whole image's prediction")
    if hint.max_difference is not None:
        losses.append(f"largest difference {hint.max_difference:.2g} of its range")
    loss = f" Measured: {', '.join(losses)}." if losses else ""
    return f"{text}\n\nWhere tiles cannot be avoided: tiles of {tile} voxels, halo {halo}.{loss}"


def _fixed(config: PackageConfig) -> str:
    fixed = config.fixed
    assert fixed is not None
    images = ", ".join(map(as_it_is, fixed.images[:MOST_NAMES]))
    if len(fixed.images) > MOST_NAMES:
        images += f" and {len(fixed.images) - MOST_NAMES} more"
    halo = "×".join(map(str, fixed.halo))
    tile = "" if fixed.tile is None else f" Tiles have {'×'.join(map(str, fixed.tile))} voxels."
    return (
        f"This package is made for programs that cut images, from `{fixed.model}`, which looks at "
        "the whole image. What it needs to know of the whole image was taken from given images "
        f"({images}) and is part of this network, which therefore looks at a neighbourhood only: "
        f"{halo} voxels, the halo of its tiles.{tile} The image that it was made from is "
        "predicted in tiles as it is as a whole; other images like it nearly so. For any other "
        f"image, and to be exact for each, use `{fixed.model}` with `gvtzoo predict`."
    )


def _programs(rows: Sequence[ClientLoss]) -> str:
    """The table of losses."""
    if not rows:
        return (
            "Not measured. `gvtzoo test MODEL.zip --image image.tif` measures on an image what "
            "each program's way of cutting and normalizing costs."
        )
    header = ["Program", "Weights", "Image", "Tiles", "Largest difference", "r", "At seams"]
    lines = [header, ["---"] * len(header)]
    for row in rows:
        values = [row.note, "", ""]
        if row.max_difference is not None and row.pearson_r is not None:
            values = [f"{100 * row.max_difference:.2g} %", f"{row.pearson_r:.6f}", "no seams"]
        if row.seams is not None:
            values[2] = f"{100 * row.seams:.2g} %"
        lines.append([row.client, row.weights, row.image, str(row.tiles or ""), *values])
    table = _table(lines)
    return (
        "What each program's way of cutting and normalizing an image costs against the prediction "
        "of the whole image, in percent of its range; at seams, the mean step between neighbours "
        f"in two tiles. Measured by a simulation of each program's way.\n\n{table}"
    )


def _uncertainty(config: PackageConfig) -> str:
    if not config.uncertainty:
        return "This network does not estimate it."
    return (
        "The weights hold a second head that gives σ, the scale of a Laplace distribution around "
        "every predicted voxel: `gvtzoo predict --uncertainty` writes it beside the prediction. "
        + (
            "Other programs show the prediction only."
            if config.output == "prediction"
            else "This package gives σ to other programs, instead of the prediction."
        )
    )


def _validation(metrics: Sequence[MetricRow]) -> str:
    how = (
        "To validate on images of your own, predict them and compare them with their targets: "
        "`gvtzoo.metrics.pair.evaluate_pair(target, prediction)` computes these metrics."
    )
    if not metrics:
        return f"No metrics were measured for this package. {how}"
    names = list(dict.fromkeys(name for row in metrics for name in row.values))
    header = ["Data", "Condition", "Method", *names]
    rows = [
        [row.data, row.condition, row.method + CHOSE * row.chose_weights]
        + [f"{row.values[name]:.4g}" if name in row.values else "" for name in names]
        for row in metrics
    ]
    lines = [header, ["---"] * len(header), *rows]
    table = _table(lines)
    note = f"{CHOSE.strip()} {CHOSEN}\n\n" if any(row.chose_weights for row in metrics) else ""
    return f"{table}\n\n{note}{how}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(map(as_it_is, cells)) + " |" for cells in lines)


def as_it_is(text: str) -> str:
    """A name in Markdown, on one line, whatever marks and tags are in it.

    Examples
    --------
    >>> as_it_is("a|b <c>.tif")
    'a\\\\|b \\\\<c\\\\>.tif'
    """
    return MARKS.sub(r"\\\g<0>", one_line(text))


def _license(metadata: ModelMetadata) -> str:
    if not metadata.license:
        return "no licence was given: ask the authors before you use or share them."
    return f"{metadata.license}."


def _training_data(config: PackageConfig) -> str:
    metadata = config.metadata
    parts = [
        _sources(metadata.data) or "No data set was named.",
        _files(config.trained_on),
    ]
    if metadata.parent is not None:
        before = _sources(metadata.parent_data) or "No data set was named."
        parts += [f"Fine-tuned from {metadata.parent}, which had been trained on:", before]
    return "\n\n".join(part for part in parts if part)


def _files(known: TrainedOn) -> str:
    """What the package knows of the files, whose hashes are in its description."""
    own = [file for file in known.files if not file.model]
    if not own:
        return ""
    uses = {"train": "trained on", "val": "chosen by"}
    told = [
        f"{uses[use]} {len(names)} files ({_some(names)})"
        for use in uses
        if (names := [file.name for file in own if file.use == use])
    ]
    return (
        f"The weights were {' and '.join(told)}. Their SHA-256 are in the package's description, "
        "so that `gvtzoo evaluate` tells images that were seen in training."
    )


def _some(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(map(as_it_is, names[:MOST_NAMED])) + ", …" * (len(names) > MOST_NAMED)


def _sources(data: Sequence[DataSource]) -> str:
    lines = []
    for source in data:
        told = [source.name, f"licence {source.license}", source.split]
        parts = [*map(as_it_is, told), source.url]
        if source.citation is not None:
            parts.append(_citation(source.citation))
        lines.append("- " + "; ".join(part for part in parts if part))
    return "\n".join(lines)


def _citation(citation: Citation) -> str:
    link = f"https://doi.org/{citation.doi}" if citation.doi else citation.url
    return f"{citation.text.rstrip('.')}. {link}"
