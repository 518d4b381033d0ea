"""The page of models, written from the zoo: their packages, their cards' texts and their pictures.

``python docs/models_page.py`` draws the picture in the README anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gvtzoo.hub.index import Entry, read_index
from gvtzoo.packages.reader import open_package
from gvtzoo.site.pictures import pictures_of


def write(folder: Path) -> None:
    """Write ``models.md`` and each model's picture into a folder."""
    folder.mkdir(exist_ok=True)
    entries = read_index().values()
    ready = [entry for entry in entries if entry.package is not None]
    others = [entry for entry in entries if entry.package is None]
    lines = [line for entry in ready for line in _ready(entry, folder)]
    text = "\n".join([*lines, *_to_fetch(others)]) + "\n"
    path = folder / "models.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _ready(entry: Entry, folder: Path) -> Iterator[str]:
    """A model that comes with gvtzoo: pictures, for what, not for what."""
    yield f"### `{entry.id}`\n"
    yield f"{entry.description}\n"
    yield from _pictures(entry, folder)
    yield f"**What for.** {entry.metadata.intended_use}\n"
    yield f"**What not for.** {entry.metadata.limitations}\n"
    yield f"Trained on {_data(entry)}. Weights: {entry.license}.\n"
    yield f"```sh\ngvtzoo predict {entry.id} image.tif -o out.tif\n```\n"


def _to_fetch(entries: list[Entry]) -> Iterator[str]:
    """The published models: one line each."""
    yield "## One command away\n"
    yield "The paper's published models are fetched at the first use "
    yield "([how](howto/paper_models.md)).\n"
    yield "| | from | to | structure | download |"
    yield "| --- | --- | --- | --- | --- |"
    for entry in entries:
        size = 0 if entry.checkpoint is None else entry.checkpoint.size
        axes = f"{entry.dimensions}D", f"{entry.output_dimensions}D"
        yield f"| `{entry.id}` | {axes[0]} | {axes[1]} | {entry.structure} | {size / 1e6:.0f} MB |"


def _data(entry: Entry) -> str:
    return "; ".join(f"[{data.name}]({data.url})" for data in entry.metadata.data)


def _pictures(entry: Entry, folder: Path) -> Iterator[str]:
    assert entry.package is not None
    pictures = pictures_of(open_package(entry.package))
    names = f"{entry.id}_input.png", f"{entry.id}_prediction.png"
    for name, content in zip(names, (pictures.before, pictures.after), strict=True):
        (folder / name).write_bytes(content)
    yield f'![{entry.name}: the input]({names[0]}){{width="45%"}}'
    yield f'![{entry.name}: the prediction]({names[1]}){{width="45%"}}\n'
    yield f"*{pictures.caption}*\n"


def draw_overview(path: Path) -> None:
    """One picture: of each model that comes with gvtzoo the input, and below it the prediction."""
    import matplotlib.pyplot as plt
    from imagecodecs import png_decode

    packages = [entry.package for entry in read_index().values() if entry.package is not None]
    figure, axes = plt.subplots(
        2, len(packages), figsize=(2.2 * len(packages), 4.7), layout="constrained"
    )
    for column, package in zip(axes.T, packages, strict=True):
        pictures = pictures_of(open_package(package))
        for axis, picture in zip(column, (pictures.before, pictures.after), strict=True):
            pixels = png_decode(picture)
            side = min(pixels.shape)
            top, left = ((size - side) // 2 for size in pixels.shape)
            axis.imshow(pixels[top : top + side, left : left + side], cmap="gray")
            axis.set_axis_off()
        column[0].set_title(package.parent.name.removeprefix("gvtnet-"), fontsize=9)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    draw_overview(Path(__file__).parent / "models.png")
