"""The report's HTML: what is in it, what is left out, and that it loads and runs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluations import METRICS, make_evaluation

from gvtzoo.evaluation.results import Evaluation
from gvtzoo.report.page import number, write_report

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }} & $x$"


class Parsed(HTMLParser):
    """Elements with their attributes, and the words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.of("section")]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report_of(evaluation: Evaluation, folder) -> Parsed:
    return Parsed(write_report(evaluation, folder).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def evaluation(folder) -> Evaluation:
    return make_evaluation(folder, conditions=("2 photons", "8 photons"))


@pytest.fixture(scope="module")
def brief(evaluation) -> Evaluation:
    """With one metric and few figures."""
    return short(evaluation)


def short(evaluation: Evaluation) -> Evaluation:
    return evaluation.model_copy(
        update={"metrics": ("ssim",), "histograms": (), "calibrations": ()}
    )


@pytest.fixture(scope="module")
def page(evaluation, folder) -> Parsed:
    return report_of(evaluation, folder)


def test_has_all_sections(page):
    assert page.sections == [
        "summary",
        "comparison",
        "figures",
        "images",
        "distributions",
        "table",
        "legend",
    ]


def test_says_what_was_compared_on_what_and_how_to_repeat_it(page, evaluation):
    assert "Evaluation of network and filter" in page.text
    assert evaluation.command in re.sub(r"\s+", " ", "".join(page.words))
    for part in (
        "images/",
        "Images 8",
        "2 photons, 8 photons",
        "z 0.6, y 0.2, x 0.2 µm",
        "gvtzoo 1.0",
    ):
        assert part in page.text


def test_explains_every_metric(page):
    explained = page.text.partition("What the metrics say")[2]
    for name in ("Pearson r", "NRMSE", "PSNR (dB)", "SSIM", "MSE", "MAE", "R²"):
        assert name in explained


def test_summary_marks_the_best_and_names_its_numbers(page, evaluation):
    first = evaluation.summaries[0]
    assert f"{number(first.low)} to {number(first.high)}" in page.text
    best = [span for span in page.of("span") if "best" in (span.get("class") or "").split()]
    # the first model wins every metric, in the summary and for each condition
    assert len(best) == 3 * len(METRICS)


def test_one_image_proves_nothing_and_the_page_says_so(tmp_path):
    page = report_of(short(make_evaluation(tmp_path, images=("a",))), tmp_path)
    assert "One image proves nothing" in page.text
    assert "±" not in page.text.partition("Summary")[2].partition("Images")[0]
    several = report_of(short(make_evaluation(tmp_path)), tmp_path)
    assert "proves nothing" not in several.text
    assert "±" in several.text


def test_comparison_is_a_sentence_with_effect_size_and_p(page):
    assert "network against filter , SSIM: mean difference 0.1000 over 4 truths" in page.text
    assert "corrected (Holm) for the 3 tests of a metric" in page.text
    assert "over the 4 truths: of a truth with several images their mean counts" in page.text
    assert (
        "effect size 1.50, p = 0.037 (t-test), 0.20 (Wilcoxon), corrected for 3 tests" in page.text
    )


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (2, ": fewer than 3, too few for a test."),
        (4, ": no test, since all differences are equal."),
    ],
)
def test_where_there_is_no_test_there_is_no_p(evaluation, count, words, tmp_path):
    nothing = dict.fromkeys(
        ("effect_size", "t", "t_p_value", "wilcoxon_p_value", "t_p_holm", "wilcoxon_p_holm"), np.nan
    )
    rows = [row.model_copy(update={**nothing, "count": count}) for row in evaluation.comparisons]
    text = report_of(evaluation.model_copy(update={"comparisons": tuple(rows)}), tmp_path).text
    assert words in text
    assert "effect size –" not in text
    assert "nan" not in text.partition("Comparison")[2].partition("Metrics")[0]


def test_images_that_a_model_has_seen_are_marked(evaluation, page, tmp_path):
    assert "Seen before" not in page.text
    seen = {"a": "train", "b": "val", "c": "part"}
    rows = [
        row.model_copy(update={"seen": seen.get(row.image, "")}) if row.model == "network" else row
        for row in evaluation.results
    ]
    marked = evaluation.model_copy(update={"results": tuple(rows)})
    text = report_of(marked, tmp_path).text
    assert "network: it was trained on 2 of the 8 images (2 photons/a, 8 photons/a)" in text
    assert "network: its weights were chosen by 2 of the 8 images" in text
    assert text.count("Seen before") == 1
    for words in ("trained on", "chose the weights", "same file, other part"):
        assert text.partition("Every image")[2].count(words) == 2
    header, *lines = marked.table().splitlines()
    assert header.endswith(",seen")
    assert sorted({line.rpartition(",")[2] for line in lines}) == ["", "part", "train", "val"]


def test_shows_best_median_and_worst_image_by_ssim(page, evaluation):
    panels = [image for image in page.of("img") if image["class"] == "panel"]
    scores = sorted(row.metrics["ssim"] for row in evaluation.of("network"))
    told = (max(scores), scores[len(scores) // 2 - 1], min(scores))
    for image, title, score in zip(panels, ("Best", "Median", "Worst"), told, strict=True):
        assert image["alt"].startswith(f"{title} image")
        assert f"network {number(score)}" in image["alt"]
        assert "input, truth, predictions and errors and σ" in image["alt"]


def test_needs_nothing_beside_it(page, folder):
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert not page.of("link")[0]["href"].removeprefix("data:,")
    assert len(page.of("link")) == len(page.of("script")) == 1
    assert "src" not in page.of("script")[0]
    assert {image["src"][:19] for image in page.of("img")} == {"data:image/svg+xml,"}
    assert all(image["alt"] for image in page.of("img"))
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", html)
    assert "@import" not in html
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    for image in page.of("img"):
        svg = unquote(image["src"].partition(",")[2])
        ElementTree.fromstring(svg)
        own = re.findall(r"(?:href=\"|url\()([^\")]*)", svg)
        assert all(address.startswith(("#", "data:")) for address in own)


def test_is_small(evaluation, folder, tmp_path):
    assert (folder / "index.html").stat().st_size < 3e6
    large = make_evaluation(tmp_path, models=("a", "b"), images=("1", "2", "3"), shape=(520, 530))
    assert write_report(short(large), tmp_path).stat().st_size < 10e6


def test_lets_only_its_own_script_run(page):
    policy = next(meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}';", policy)


def test_links_to_the_files_that_are_there(brief, folder, tmp_path):
    assert report_of(brief, tmp_path).of("a") == [{"class": "skip", "href": "#summary"}]
    (tmp_path / "evaluation.json").write_text("{}")
    (tmp_path / "metrics.csv").write_text("")
    links = [link["href"] for link in report_of(brief, tmp_path).of("a")]
    assert links == ["#summary", "evaluation.json", "metrics.csv"]


def hostile(evaluation: Evaluation) -> Evaluation:
    """Every text of an evaluation is code."""

    def renamed(rows, **names):
        return tuple(
            row.model_copy(update={key: value for key, value in names.items() if hasattr(row, key)})
            for row in rows
        )

    names = {"condition": HOSTILE, "structure": HOSTILE, "image": HOSTILE}
    results = [
        row.model_copy(update={**names, "model": f"{row.model}{HOSTILE}"})
        for row in evaluation.results
    ]
    return evaluation.model_copy(
        update={
            "models": tuple(f"{name}{HOSTILE}" for name in evaluation.models),
            "metrics": ("ssim", HOSTILE),
            "results": tuple(results),
            "summaries": renamed(evaluation.summaries, metric=HOSTILE),
            "comparisons": renamed(evaluation.comparisons, first=HOSTILE, metric=HOSTILE),
            "calibrations": renamed(evaluation.calibrations, model=f"network{HOSTILE}"),
            "histograms": renamed(evaluation.histograms, condition=HOSTILE),
            "unit": HOSTILE,
            "data": HOSTILE,
            "command": HOSTILE,
            "versions": {HOSTILE: HOSTILE},
        }
    )


def test_no_text_becomes_code(evaluation, folder, tmp_path):
    page = report_of(hostile(evaluation), tmp_path)
    assert len(page.of("script")) == 1
    assert "onerror" not in {name for _, attributes in page.elements for name in attributes}
    assert all(image["src"].startswith("data:image/svg+xml,") for image in page.of("img"))
    assert HOSTILE in " ".join("".join(page.words).split())
    assert "49" not in "".join(page.words).partition("Data")[2].partition("Versions")[0]


def test_one_model_and_one_image(tmp_path):
    one = make_evaluation(tmp_path, models=("network",), images=("a",), sigma=False)
    one = one.model_copy(update={"histograms": ()})
    page = report_of(one, tmp_path)
    assert page.sections == ["summary", "images", "table", "legend"]
    panels = [image for image in page.of("img") if image["class"] == "panel"]
    assert [panel["alt"].partition(",")[0] for panel in panels] == ["Image"]
    assert "Chosen by" not in page.text
    assert "Conditions" not in page.text


def test_without_image_files_there_are_no_panels(brief, tmp_path):
    page = report_of(brief, tmp_path)
    assert "images" not in page.sections
    nameless = [row.model_copy(update={"source": None}) for row in brief.results]
    page = report_of(brief.model_copy(update={"results": tuple(nameless)}), tmp_path)
    assert "images" not in page.sections


def test_a_damaged_prediction_leaves_out_only_itself(tmp_path):
    found = make_evaluation(tmp_path, images=("a",))
    (tmp_path / found.results[1].prediction).write_bytes(b"not a TIFF")
    panels = [i for i in report_of(short(found), tmp_path).of("img") if i["class"] == "panel"]
    assert "network" in panels[0]["alt"]
    assert "filter" not in panels[0]["alt"]


def test_metrics_that_are_not_numbers(evaluation, folder):
    nothing = dict.fromkeys(METRICS, np.nan)
    results = tuple(row.model_copy(update={"metrics": nothing}) for row in evaluation.results)
    summaries = tuple(
        row.model_copy(update=dict.fromkeys(("mean", "deviation", "median", "low", "high"), np.nan))
        for row in evaluation.summaries
    )
    page = report_of(
        evaluation.model_copy(update={"results": results, "summaries": summaries}), folder
    )
    assert page.sections == ["summary", "comparison", "distributions", "table", "legend"]
    assert "nan" not in page.text.lower().replace("nano", "")


def test_nothing_at_all(tmp_path):
    page = report_of(Evaluation(models=("m",), metrics=(), results=()), tmp_path)
    assert page.sections == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"),
        (-0.12345, "−0.1235"),
        (1234.5, "1234"),
        (12345.6, "12346"),
        (1234567.0, "1.235e+06"),
        (np.inf, "∞"),
        (np.nan, "–"),
        (None, "–"),
        (12, "12"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_replaces_an_earlier_page_and_leaves_nothing_else(brief, tmp_path):
    (tmp_path / "index.html").write_text("old")
    write_report(brief, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert "old" not in (tmp_path / "index.html").read_text(encoding="utf-8")[:100]


def test_the_same_evaluation_gives_the_same_page(brief, tmp_path):
    pages = [write_report(brief, tmp_path).read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("shape", "axes", "shown"), [((5, 20, 16), "CYX", 2), ((5, 20, 16), "TYX", 0)]
)
def test_of_several_planes_one_is_shown(tmp_path, shape, axes, shown):
    from tifffile import imwrite

    from gvtzoo.images.files import read_image
    from gvtzoo.report.images import read_pair

    found = make_evaluation(tmp_path, models=("m",), images=("a",), shape=(20, 16), sigma=False)
    planes = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint16)
    path = tmp_path / found.results[0].source
    imwrite(path, planes, imagej=True, metadata={"axes": axes})
    assert read_image(path, keep_channels=True).dims[0] == axes[0].lower()
    images = read_pair(found.results, tmp_path)
    np.testing.assert_array_equal(images.source, planes[shown])


def test_a_truth_of_several_channels_is_not_guessed(tmp_path):
    from tifffile import imwrite

    found = make_evaluation(tmp_path, images=("a",), shape=(20, 16))
    planes = np.zeros((3, 20, 16), np.uint16)
    imwrite(tmp_path / found.results[0].target, planes, imagej=True, metadata={"axes": "CYX"})
    assert "images" not in report_of(short(found), tmp_path).sections


def test_counts_have_no_winner(brief, tmp_path):
    rows = [row for row in brief.comparisons if row.metric == "ssim" and not row.condition]
    counts = [row.model_copy(update={"metric": "count"}) for row in rows]
    found = brief.model_copy(update={"comparisons": tuple(rows + counts)})
    cells = report_of(found, tmp_path).text.partition("All comparisons")[2].partition("Boxes")[0]
    assert "SSIM" in cells
    assert "Objects" not in cells


def test_the_input_has_no_second_column(tmp_path):
    from gvtzoo.report.images import read_pair

    found = make_evaluation(tmp_path, models=("m", "input"), images=("a",), shape=(20, 16))
    assert list(read_pair(found.results, tmp_path).predictions) == ["m"]
    alone = make_evaluation(tmp_path, models=("input",), images=("a",), shape=(20, 16))
    assert list(read_pair(alone.results, tmp_path).predictions) == ["input"]
