"""Makes docs/results.md: the paper's comparisons on images that a laptop can train on.

    python docs/results.py --data DATA --runs RUNS

DATA holds the folders exposure_pairs/, phase_to_fluorescence/, nuclei_3d/ and notum_geometry/, as
the recipes denoising/exposures, label_free/phase_to_dapi, denoising/nuclei and projection/notum
describe them, and stacks_3d/ as benchmarks/finetuning.py does. Trainings that RUNS does not hold
are made (some hours on two cores) and continued where they were interrupted; predictions are kept
there, too.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from gvtzoo.evaluation.measure import Options
from gvtzoo.evaluation.pairs import EvaluationPair, write_recipe_pairs
from gvtzoo.evaluation.predictions import Candidate, IdentityBaseline, ModelPredictions
from gvtzoo.evaluation.results import Evaluation
from gvtzoo.evaluation.run import evaluate
from gvtzoo.evaluation.statistics import LOWER_IS_BETTER, Comparison, compare_paired
from gvtzoo.recipes.recipe import Recipe, load_recipe

METRICS = {"ssim": "SSIM", "nrmse": "NRMSE", "r": "r"}
SEEDS = (0, 1, 2)
STEPS = 1500
IMAGES = 2  # of a sweep
GVTNET = "GVTNet"
FINETUNING = ("--model", "gvtnet-denoising-exposures")


@dataclass(frozen=True)
class Variant:
    """A network that is trained in a study.

    Attributes
    ----------
    name : str
        On the page.
    folder : str
        Of its runs.
    recipe : str
    settings : tuple of str
        Beside steps and seed.
    seeds : tuple of int
    """

    name: str
    folder: str
    recipe: str
    settings: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS


@dataclass(frozen=True)
class Study:
    """Networks that are trained the same way and measured on the same images.

    Attributes
    ----------
    name, title, text : str
    data : str
        Folder below DATA.
    variants : tuple of Variant
        The GVTNet first.
    steps : int, optional
        None for the recipe's.
    """

    name: str
    title: str
    text: str
    data: str
    variants: tuple[Variant, ...]
    steps: int | None = STEPS


def baseline(name: str, study: str, recipe: str, network: str) -> Variant:
    """A network of another paper, with one seed."""
    key = network.partition(",")[0].rpartition(" ")[2]
    setting = f"network={{{network}}}"
    return Variant(name, f"{study}_{key}", recipe, (setting,), SEEDS[:1])


EXPOSURES, DAPI = "denoising/exposures", "label_free/phase_to_dapi"
STUDIES = (
    Study(
        "exposures",
        "Denoising, 2D",
        "Short exposures of fixed cells to long ones. Trained on actin, mitochondria at 60× and "
        "confocal, and membranes; tested on six tiles of one image of mitochondria at 20×. Tiles "
        "of one image are not independent of each other, so p values are smaller than they should "
        "be.",
        "exposure_pairs",
        (
            Variant(GVTNET, "exposures", EXPOSURES),
            Variant("U-Net of equal size", "exposures_unet", f"{EXPOSURES}_unet"),
            Variant("without GVTOs", "exposures_without_gvtos", f"{EXPOSURES}_without_gvtos"),
            baseline("CARE U-Net", "exposures", EXPOSURES,
                     "architecture: care_unet, dimensions: 2, features: 9"),
            baseline("RSGU-Net", "exposures", EXPOSURES,
                     "architecture: rsgu_net, dimensions: 2, features: 6"),
            baseline("FNet", "exposures", EXPOSURES,
                     "architecture: fnet, dimensions: 2, features: 6, depth: 4"),
            baseline("CE-Net", "exposures", EXPOSURES,
                     "architecture: ce_net, dimensions: 2, features: 3"),
        ),
    ),
    Study(
        "dapi",
        "Label-free, 13 planes of phase contrast to DAPI",
        "Trained on two quadrants of one field of view; tested on 336 rows of the third. There is "
        "one test image, so there is a spread between seeds, and no test of significance.",
        "phase_to_fluorescence",
        (
            Variant(GVTNET, "phase_to_dapi", DAPI),
            Variant("U-Net of equal size", "phase_to_dapi_unet", f"{DAPI}_unet"),
            Variant("without GVTO", "phase_to_dapi_without_gvtos", f"{DAPI}_without_gvtos"),
            baseline("RSGU-Net", "phase_to_dapi", DAPI,
                     "architecture: rsgu_net, dimensions: 2, features: 12, input_channels: 13"),
            baseline("FNet", "phase_to_dapi", DAPI,
                     "architecture: fnet, dimensions: 2, features: 13, depth: 4, "
                     "input_channels: 13"),
            baseline("CE-Net", "phase_to_dapi", DAPI,
                     "architecture: ce_net, dimensions: 2, features: 6, input_channels: 13"),
        ),
    ),
    *(
        Study(
            structure,
            f"Label-free, 13 planes of phase contrast to {name}",
            f"The same planes of phase contrast, and {what} as target.",
            "phase_to_fluorescence",
            (
                Variant(GVTNET, f"phase_to_{structure}", f"label_free/phase_to_{structure}"),
                Variant("U-Net of equal size", f"phase_to_{structure}_unet",
                        f"label_free/phase_to_{structure}_unet"),
            ),
            steps=None,
        )
        for structure, name, what in (("map2", "MAP2", "dendrites"), ("nfh", "NFH", "axons"))
    ),
    Study(
        "notum",
        "Projection, 3D → 2D, three noise levels",
        "Semi-synthetic stacks of a fly's notum; tested on a part of the surface that no network "
        "has seen, at 20, 40 and 80 photons. The plain U-Net sees the planes as channels.",
        "notum_geometry",
        (
            Variant(GVTNET, "notum", "projection/notum", (), SEEDS[:1]),
            Variant("plain U-Net", "notum_unet", "projection/notum_unet", (), SEEDS[:1]),
        ),
        steps=None,
    ),
)  # fmt: skip

STRUCTURES = ("dapi", "map2", "nfh")


@dataclass
class Page:
    """Where the page and its pictures go."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    verdicts: list[list[str]] = field(default_factory=list)

    def add(self, *lines: str) -> None:
        """Paragraphs."""
        for line in lines:
            self.lines += [line, ""]

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table in Markdown."""
        cells = [header, ["---"] * len(header), *rows]
        self.add("\n".join(f"| {' | '.join(row)} |" for row in cells))

    def picture(self, figure: Any, name: str, text: str) -> None:
        """A figure beside the page."""
        path = self.folder / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=100)
        self.add(f"![{text}](results/{name})")


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data sets' folders.")],
    runs: Annotated[Path, typer.Option(help="Folder of trainings and predictions.")],
    output: Annotated[Path, typer.Option("--output", "-o")] = Path("docs/results.md"),
) -> None:
    """Train what is missing, measure, and write the page."""
    page = Page(output.parent)
    page.add(
        "# Results",
        "What the paper compares, on public images that train on a laptop. Made by",
        "```bash\npython docs/results.py --data DATA --runs RUNS\n```",
        f"Networks of a study are trained with the same data, augmentation, loss and number of "
        f"steps ({STEPS} where nothing else is said, fewer than the zoo's models have), and "
        "measured on images that none has seen. Learning rate and schedule are those of the "
        "GVTNet's recipe and were not tuned for the others, which may do better with their own. "
        "Numbers are means over test images ± standard "
        "deviation between seeds of the training. They say how these networks compare at this "
        "size and on these images; for the paper's sizes and data sets see its figures.",
    )
    beginning = len(page.lines)
    for study in STUDIES:
        typer.echo(study.title, err=True)
        add_study(page, study, data / study.data, runs)
    for section in (
        add_resolution_and_segmentation,
        add_transfer,
        add_calibration,
        add_sweep,
        add_finetuning,
    ):
        typer.echo(section.__name__, err=True)
        section(page, data, runs)
    page.lines[beginning:beginning] = in_short(page)
    output.write_text("\n".join(page.lines).rstrip() + "\n", encoding="utf-8")


def in_short(page: Page) -> list[str]:
    """Where the GVTNet is better, and where it is not."""
    short = Page(page.folder)
    short.add("## In short")
    short.table(
        ["", "against", *(f"{name}, GVTNet − it" for name in METRICS.values())], page.verdicts
    )
    short.add(
        "Bold where the GVTNet is better. NRMSE is better the lower it is. Details, spread and "
        "tests are below."
    )
    return short.lines


def train_missing(study: Study, data: Path, runs: Path) -> None:
    """Train every variant with every seed, unless it is done."""
    from gvtzoo.training.train import train

    for variant in study.variants:
        for seed in variant.seeds:
            run = run_folder(study, variant, seed, runs)
            if (run / "done").exists():
                continue
            recipe = recipe_of(study, variant, seed)
            resume = (run / "last.ckpt").is_file()
            if not resume and run.is_dir():
                shutil.rmtree(run)
            train(recipe, data, run, resume=resume)
            (run / "done").touch()


def run_folder(study: Study, variant: Variant, seed: int, runs: Path) -> Path:
    return runs / study.name / variant.folder / str(seed)


def recipe_of(study: Study, variant: Variant, seed: int) -> Recipe:
    steps = [] if study.steps is None else [f"training.steps={study.steps}"]
    return load_recipe(variant.recipe, [*steps, f"training.seed={seed}", *variant.settings])


def add_study(page: Page, study: Study, data: Path, runs: Path) -> None:
    """A table of all variants, comparisons, and pictures."""
    from gvtzoo.report.figures import box_and_whiskers, metric_by_condition

    train_missing(study, data, runs)
    folder = runs / "evaluations" / study.name
    pairs = study_pairs(study, data, folder)
    found = evaluate(list(candidates_of(study, runs, folder)), pairs, folder)
    page.add(f"## {study.title}", study.text)
    page.add("\n".join(["```bash", *(command(study, v) for v in study.variants), "```"]))
    add_table(page, study, found)
    page.verdicts += verdicts(study, found)
    if len(pairs) > 1 and len(study.variants[0].seeds) > 1:
        page.add(*(in_words(comparison) for comparison in comparisons(study, found)))
    shown = with_means(found, study)
    if len(found.conditions) > 1:
        page.picture(
            metric_by_condition(shown, "ssim"),
            f"{study.name}_conditions.png",
            "SSIM by condition: mean and bootstrap interval",
        )
    elif len(pairs) > 1:
        page.picture(
            box_and_whiskers(shown, "ssim"),
            f"{study.name}_boxes.png",
            "SSIM of every test image, the mean over seeds",
        )
    add_panel(page, study, found, folder)


def command(study: Study, variant: Variant) -> str:
    """What trains a variant."""
    settings = [] if study.steps is None else [f"training.steps={study.steps}"]
    if len(variant.seeds) > 1:
        settings.append("training.seed=SEED")
    settings += [f'"{text}"' if " " in text else text for text in variant.settings]
    options = "".join(f" --set {text}" for text in settings)
    return f"gvtzoo train {variant.recipe} --data {study.data}/{options} -o {variant.folder}/"


def study_pairs(study: Study, data: Path, folder: Path) -> list[EvaluationPair]:
    recipe = recipe_of(study, study.variants[0], 0)
    return write_recipe_pairs(recipe, data, folder / "images")


def candidates_of(study: Study, runs: Path, folder: Path) -> Iterator[Candidate]:
    for variant in study.variants:
        for seed in variant.seeds:
            name = label(variant, seed)
            kept = folder / "predictions" / f"{variant.folder}_{seed}"
            yield ModelPredictions(name, run_folder(study, variant, seed, runs), kept)


def label(variant: Variant, seed: int) -> str:
    return f"{variant.name}, seed {seed}"


def by_image(found: Evaluation, variant: Variant) -> dict[str, np.ndarray]:
    """Of every metric, values (seed, image)."""
    return {
        metric: np.array(
            [
                [row.metrics[metric] for row in found.of(label(variant, seed))]
                for seed in variant.seeds
            ]
        )
        for metric in METRICS
    }


def add_table(page: Page, study: Study, found: Evaluation) -> None:
    values = {variant.name: by_image(found, variant) for variant in study.variants}
    best = {
        metric: (min if metric in LOWER_IS_BETTER else max)(
            values[variant.name][metric].mean() for variant in study.variants
        )
        for metric in METRICS
    }
    rows = []
    for variant in study.variants:
        network = recipe_of(study, variant, 0).network.build()
        count = sum(parameter.numel() for parameter in network.parameters())
        cells = []
        for metric in METRICS:
            array = values[variant.name][metric]
            means = array.mean(axis=1)
            spread = f" ± {means.std(ddof=1):.4f}" if len(means) > 1 else ""
            text = f"{array.mean():.4f}{spread}"
            cells.append(f"**{text}**" if array.mean() == best[metric] else text)
        rows.append([variant.name, f"{count:,}", str(len(variant.seeds)), *cells])
    page.table(["network", "parameters", "seeds", *METRICS.values()], rows)


def verdicts(study: Study, found: Evaluation) -> Iterator[list[str]]:
    """What the first variant gains over each of the others."""
    means = {
        variant.name: {metric: array.mean() for metric, array in by_image(found, variant).items()}
        for variant in study.variants
    }
    first, *others = study.variants
    for other in others:
        cells = []
        for metric in METRICS:
            gain = means[first.name][metric] - means[other.name][metric]
            better = gain < 0 if metric in LOWER_IS_BETTER else gain > 0
            cells.append(f"**{gain:+.4f}**" if better else f"{gain:+.4f}")
        yield [study.title, other.name, *cells]


def comparisons(study: Study, found: Evaluation) -> Iterator[Comparison]:
    """The first variant against the others that have as many seeds, images averaged over seeds."""
    first, *others = study.variants
    for other in others:
        if other.seeds != first.seeds:
            continue
        for metric in METRICS:
            ours, theirs = (
                by_image(found, variant)[metric].mean(axis=0).tolist() for variant in (first, other)
            )
            yield compare_paired(ours, theirs, metric=metric, first=first.name, second=other.name)


def in_words(row: Comparison) -> str:
    better = row.difference < 0 if row.metric in LOWER_IS_BETTER else row.difference > 0
    return (
        f"- {row.first} is **{'better' if better else 'not better'}** than {row.second} in "
        f"{METRICS[row.metric]}: {row.difference:+.4f}, one-tailed paired t-test "
        f"p = {row.t_p_value:.2g}, Wilcoxon p = {row.wilcoxon_p_value:.2g}, "
        f"d = {row.effect_size:.2f}, n = {row.count}"
    )


def with_means(found: Evaluation, study: Study) -> Evaluation:
    """The evaluation with one model for each variant, the mean over its seeds."""
    from gvtzoo.evaluation.run import summarized

    results = []
    for variant in study.variants:
        for rows in zip(*(found.of(label(variant, seed)) for seed in variant.seeds), strict=True):
            metrics = {
                name: float(np.mean([row.metrics[name] for row in rows])) for name in found.metrics
            }
            results.append(rows[0].model_copy(update={"model": variant.name, "metrics": metrics}))
    names = tuple(variant.name for variant in study.variants)
    return summarized(found.model_copy(update={"models": names, "results": tuple(results)}))


def add_panel(page: Page, study: Study, found: Evaluation, folder: Path) -> None:
    """The median image of the GVTNet's first seed, as all main variants see it."""
    from gvtzoo.report.images import read_pair
    from gvtzoo.report.panels import image_panel

    rows = sorted(found.of(label(study.variants[0], 0)), key=lambda row: row.metrics["ssim"])
    median = rows[len(rows) // 2]
    chosen = []
    for variant in study.variants[:3]:
        of_variant = found.of(label(variant, 0))
        row = next(
            r for r in of_variant if (r.image, r.condition) == (median.image, median.condition)
        )
        chosen.append(row.model_copy(update={"model": variant.name}))
    images = read_pair(chosen, folder)
    figure = image_panel(
        images.source, images.target, images.predictions,
        pixel_size=found.pixel_size, unit=found.unit,
    )  # fmt: skip
    where = f"{median.image} {median.condition}".strip()
    page.picture(figure, f"{study.name}_panel.png", f"The test image {where}, seed 0")


def zoo_candidates(names: Mapping[str, str | Path], folder: Path) -> list[Candidate]:
    return [
        ModelPredictions(name, model, folder / "predictions" / name)
        for name, model in names.items()
    ]


def add_resolution_and_segmentation(page: Page, data: Path, runs: Path) -> None:
    """What a microscopist asks beyond the paper."""
    page.add(
        "## Resolution, and what a segmentation makes of it",
        "Fourier ring correlation between prediction and truth, at 1/7: up to which detail (in "
        "pixels) they agree. Objects: what a Gaussian filter, Otsu's threshold and connected "
        "components find in the prediction against what they find in the truth. Models are the "
        "zoo's.",
    )
    rows = []
    cases = {
        "gvtnet-denoising-exposures": (data / "exposure_pairs", "denoising/exposures"),
        "gvtnet-label-free-phase-to-dapi": (data / "phase_to_fluorescence", DAPI),
    }
    for model, (folder_of_data, recipe) in cases.items():
        folder = runs / "evaluations" / model
        pairs = write_recipe_pairs(load_recipe(recipe), folder_of_data, folder / "images")
        candidates = zoo_candidates({model: model}, folder)
        if model.startswith("gvtnet-denoising"):
            candidates.append(IdentityBaseline())
        found = evaluate(candidates, pairs, folder, Options(resolution=True, segmentation=True))
        means = {(row.model, row.metric): row.mean for row in found.summaries}
        rows += [
            [
                name if name == model else f"{name} of the same images",
                f"{means[name, 'resolution']:.2f}",
                f"{means[name, 'foreground_iou']:.3f}",
                f"{means[name, 'object_f1']:.3f}",
                f"{means[name, 'count']:.0f} / {means[name, 'count_target']:.0f}",
            ]
            for name in found.models
        ]
    page.table(["", "resolution", "foreground IoU", "object F1", "objects / in truth"], rows)


def add_sweep(page: Page, data: Path, runs: Path) -> None:
    """The paper's Fig. 3d with the zoo's models."""
    from gvtzoo.evaluation.sweep import mean_rows, sweep_pair
    from gvtzoo.hub.load import load_own
    from gvtzoo.report.figures import sweep_curve

    page.add(
        "## Tiles against the whole image",
        "A metric against the size of tiles, from the training patch to the whole image: tiles "
        "with a halo as wide as the convolutions reach (the packages of these networks declare "
        "none, so Fiji and ilastik cut without, and lose more), averaged overlapping blocks (as "
        "the paper's authors did), and gvtzoo's exact tiles.",
    )
    cases = (
        ("gvtnet-denoising-exposures", "exposure_pairs", "denoising/exposures", ()),
        ("gvtnet-label-free-phase-to-dapi", "phase_to_fluorescence", DAPI, ()),
        ("gvtnet-denoising-nuclei", "nuclei_3d", "denoising/nuclei",
         ((32, 32, 32), (60, 32, 32), (60, 64, 64))),
    )  # fmt: skip
    for name, folder, recipe, tiles in cases:
        loaded = load_own(name)
        place = runs / "evaluations" / f"sweep_{name}" / "images"
        pairs = write_recipe_pairs(load_recipe(recipe), data / folder, place)[:IMAGES]
        rows = mean_rows([sweep_pair(loaded, pair, tiles) for pair in pairs])
        options = f"--images {IMAGES} --recipe {recipe} --data {folder}/"
        page.add(f"```bash\ngvtzoo sweep {name} {options} -o sweep/\n```")
        page.table(
            ["method", "tile", "r with the whole image", "largest difference", "SSIM"],
            [
                [
                    row.method,
                    "" if row.tile is None else "×".join(map(str, row.tile)),
                    f"{row.pearson_r:.5f}",
                    f"{100 * row.max_difference:.2g} %",
                    f"{row.metrics['ssim']:.4f}",
                ]
                for row in rows
            ],
        )
        page.picture(sweep_curve(rows, "ssim"), f"sweep_{name}.png", f"SSIM by tile size, {name}")


def add_transfer(page: Page, data: Path, runs: Path) -> None:
    """The paper's Fig. 5 between three structures of the same cells."""
    from gvtzoo.evaluation.transfer import transfer
    from gvtzoo.report.figures import transfer_matrix

    models: dict[str, str | Path] = {"dapi": "gvtnet-label-free-phase-to-dapi"}
    for study in STUDIES:
        if study.name in STRUCTURES:
            models.setdefault(study.name, run_folder(study, study.variants[0], 0, runs))
    folder = runs / "evaluations" / "transfer"
    sets = {
        structure: write_recipe_pairs(
            load_recipe(f"label_free/phase_to_{structure}"),
            data / "phase_to_fluorescence",
            folder / "images",
            structure=structure,
        )
        for structure in STRUCTURES
    }
    found = transfer(zoo_candidates(models, folder), sets, folder)
    page.add(
        "## Transfer between structures",
        "Each of three GVTNets (rows: nuclei, dendrites, axons) against each "
        "fluorescence (columns) of the same held-out strip. What lies off the diagonal is how "
        "much of a structure another one's network shows.",
        "```bash\ngvtzoo transfer dapi=gvtnet-label-free-phase-to-dapi map2=phase_to_map2/ "
        "nfh=phase_to_nfh/ "
        + " ".join(f"--data {s}=phase_to_fluorescence/ --recipe {s}=label_free/phase_to_{s}"
                   for s in STRUCTURES)
        + " -o transfer/\n```",
    )  # fmt: skip
    for metric in ("r", "ssim"):
        matrix = found.matrix(metric)
        page.picture(
            transfer_matrix(found.models, found.data_sets, matrix, metric),
            f"transfer_{metric}.png",
            f"{METRICS[metric]} of each network on each structure",
        )


def add_calibration(page: Page, data: Path, runs: Path) -> None:
    """Whether σ is right."""
    from gvtzoo.report.figures import calibration_curve

    folder = runs / "evaluations" / "calibration"
    recipe = load_recipe("denoising/nuclei")
    pairs = write_recipe_pairs(recipe, data / "nuclei_3d", folder / "images")
    name = "gvtnet-denoising-nuclei"
    found = evaluate([*zoo_candidates({name: name}, folder), IdentityBaseline()], pairs, folder)
    page.add(
        "## Is σ right?",
        "The bundled 3D model on the part of the stack that it has not seen, at eleven noise "
        "levels (on 176 of the stack's 256 columns, so the numbers differ from the model card's). "
        "Coverage: the share of voxels whose truth lies within the central interval of "
        "the predicted Laplace distribution. The truth itself has noise, which counts as error "
        "here.",
        f"```bash\ngvtzoo evaluate {name} --input --recipe denoising/nuclei --data nuclei_3d/ "
        "-o report/\n```",
    )
    page.table(
        ["photons", "50 % interval holds", "90 % interval holds", "SSIM", "SSIM of the input"],
        [
            [
                row.condition.partition(" ")[0],
                *(f"{np.interp(level, row.nominal, row.observed):.0%}" for level in (0.5, 0.9)),
                *(f"{found.of(m, row.condition)[0].metrics['ssim']:.3f}" for m in (name, "input")),
            ]
            for row in found.calibrations
        ],
    )
    page.picture(calibration_curve(found), "calibration.png", "Coverage, and error against σ")


def add_finetuning(page: Page, data: Path, runs: Path) -> None:
    """Before and after, by benchmarks/finetuning.py, which makes what RUNS does not hold."""
    command = ["benchmarks/finetuning.py", *FINETUNING]
    places = ["--data", str(data), "--output", str(runs / "finetuning")]
    found = subprocess.run(
        [sys.executable, *command, *places], check=True, stdout=subprocess.PIPE, text=True
    )
    page.add(
        "## Fine-tuning",
        "The 2D model of exposures on images that are unlike its own, before and after it was "
        "fine-tuned on 1, 3 or 10 pairs of 128×80 pixels, 600 steps, about 25 to 60 s on a core "
        "for each training. Test images are of another part of the specimen; the best filter is "
        "chosen with the truth. Means over three seeds.",
        f"```bash\npython {shlex.join(command)} --data DATA --output RESULTS\n```",
        found.stdout.strip(),
    )


if __name__ == "__main__":
    typer.run(main)
