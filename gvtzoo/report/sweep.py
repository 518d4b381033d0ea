"""The page of a sweep: what tiles of each size lose against the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gvtzoo.evaluation.sweep import WAYS, SweepRow
from gvtzoo.metrics.metric_info import describe
from gvtzoo.report.page import PAGE, number
from gvtzoo.report.picture import picture
from gvtzoo.report.study import Study, StudyTable, write_study

SHOWN = ("ssim", "nrmse", "r")


def sweep_sentence(rows: Sequence[SweepRow]) -> str:
    """What the table says: whether tiles lose anything against the whole image, and which least."""
    whole = next(row for row in rows if row.tile is None).metrics["ssim"]
    cut = [row for row in rows if row.tile is not None and row.method != "exact"]
    start = f"The whole image, predicted at once or by exact tiles, has SSIM {whole:.4f}"
    if not cut:
        return f"{start}."
    best, worst = (choose(cut, key=lambda row: row.metrics["ssim"]) for choose in (max, min))
    what = f"{WAYS[best.method]} of {size_text(best)} have {best.metrics['ssim']:.4f}"
    lost = whole - worst.metrics["ssim"]
    if best.metrics["ssim"] > whole:
        return f"{start}; {what}: here, tiles do better than the whole image."
    return f"{start}; {what}, the most of those that cut it, and the worst lose {lost:.4f}."


def size_text(row: SweepRow) -> str:
    """Such as ``16×32×32``, or ``whole``."""
    return "whole" if row.tile is None else "×".join(map(str, row.tile))


def write_sweep_page(
    rows: Sequence[SweepRow],
    folder: Path,
    *,
    model: str,
    data: str,
    command: str,
    files: dict[str, str],
) -> Path:
    """Write ``index.html`` into the sweep's folder.

    Parameters
    ----------
    rows : sequence of SweepRow
        As of `gvtzoo.evaluation.sweep.mean_rows`.
    folder : Path
    model, data, command : str
        What was swept on what, and by which command.
    files : dict of str to str
        Names of files beside the page, with a description.
    """
    from gvtzoo.report.figures import sweep_curve

    images = rows[0].images
    drawn = [
        picture(
            partial(sweep_curve, rows, metric),
            f"{label} against the size of tiles, a line for each method; the numbers are in the "
            "table.",
            f"{label} against the size of tiles.",
        )
        for metric, label in (
            ("ssim", "SSIM with the truth"),
            ("pearson_r", "Pearson r with the prediction of the whole image"),
            ("max_difference", "Largest difference to the prediction of the whole image"),
        )
    ]
    table = StudyTable(
        f"Mean over {images} images" if images > 1 else "One image",
        ("Method", "Tile", "r with whole", "Largest difference", *map(_label, SHOWN)),
        [
            (
                WAYS[row.method],
                size_text(row),
                f"{row.pearson_r:.5f}",
                number(row.max_difference, 2),
                *(number(row.metrics[name]) for name in SHOWN),
            )
            for row in rows
        ],
        names=2,
    )
    sentences = [sweep_sentence(rows)]
    if images == 1:
        sentences.append("One image proves nothing: another may differ.")
    study = Study(
        title=f"{model} in tiles",
        generator="gvtzoo sweep",
        command=command,
        facts={"Data": data, "Images": str(images)},
        sentences=sentences,
        tables=[table],
        notes=[
            "Tiles with a halo are predicted each by itself, with a margin as wide as the "
            "convolutions reach, as programs do it that know nothing of the network; averaged "
            "blocks overlap by a quarter; exact tiles carry the sums over the whole image, as "
            "gvtzoo predict does. “r with whole” and the largest difference (a share of the range) "
            "compare with the prediction of the whole image, the others with the truth.",
        ],
        figures=[shown for shown in drawn if shown],
        files=files,
    )
    return write_study(study, folder / PAGE)


def _label(metric: str) -> str:
    info = describe(metric)
    return f"{info.label} {info.arrow}".strip()
