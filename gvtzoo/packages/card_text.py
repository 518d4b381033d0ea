"""The README.md of a package."""

from __future__ import annotations

from collections.abc import Sequence

from gvtzoo.images.normalization import (
    FixedNormalization,
    NoNormalization,
    Normalization,
    PercentileNormalization,
)
from gvtzoo.packages.config import MetricRow, PackageConfig, TrainedOn
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
    ilastik = (
        "ilastik: not supported, since input and output have different axes."
        if config.network.output_dimensions < config.network.dimensions
        else "ilastik, *Neural Network Classification*: open the zip as the model. ilastik "
        "normalizes and predicts every tile by itself, so tiles may differ in brightness."
    )
    tiling = " --tiling exact" if config.exact else ""
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
  *Plugins › DeepImageJ › DeepImageJ Run*. Images above {FIJI_VOXELS} never finish there: predict
  those with `gvtzoo predict{tiling}`.
- {ilastik}
- bioimageio.core: image sizes have to be `min + n · step` as in `rdf.yaml`; no blocks."""


def _normalization(config: PackageConfig) -> str:
    undone = (
        "gvtzoo brings predictions back to the input's units; every other program leaves them in "
        "normalized units, since the package format cannot express the way back."
        if config.normalization.undo
        else "Predictions stay in normalized units."
    )
    return f"{_operation(config.normalization.source)} {undone}"


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


def _uncertainty(config: PackageConfig) -> str:
    if not config.uncertainty:
        return "This network does not estimate it."
    return (
        "The weights hold a second head that gives σ, the scale of a Laplace distribution around "
        "every predicted voxel: `gvtzoo predict --uncertainty` writes it beside the prediction. "
        "Other programs show the prediction only."
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
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    note = f"{CHOSE.strip()} {CHOSEN}\n\n" if any(row.chose_weights for row in metrics) else ""
    return f"{table}\n\n{note}{how}"


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
    return ", ".join(names[:MOST_NAMED]) + ", …" * (len(names) > MOST_NAMED)


def _sources(data: Sequence[DataSource]) -> str:
    lines = []
    for source in data:
        parts = [source.name, f"licence {source.license}", source.split, source.url]
        if source.citation is not None:
            parts.append(_citation(source.citation))
        lines.append("- " + "; ".join(part for part in parts if part))
    return "\n".join(lines)


def _citation(citation: Citation) -> str:
    link = f"https://doi.org/{citation.doi}" if citation.doi else citation.url
    return f"{citation.text.rstrip('.')}. {link}"
