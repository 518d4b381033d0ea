"""Pages of sweeps and transfers: whole in themselves, with their tables, sentences and figures."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from evaluations import make_evaluation

from gvtzoo.evaluation.sweep import SweepRow
from gvtzoo.evaluation.transfer import Transfer
from gvtzoo.report.page import write_report
from gvtzoo.report.sweep import write_sweep_page
from gvtzoo.report.transfer import write_transfer_page

HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tables as rows of texts, addresses that are loaded, and the words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.cell = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.cell = tag in ("th", "td")
        if tag == "tr":
            self.rows.append([])
        if self.cell:
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(given["href"])
        self.loaded += [given["src"]] if "src" in given else []
        if tag == "link":
            self.loaded.append(given["href"])

    def handle_endtag(self, tag):
        self.cell = self.cell and tag not in ("th", "td")

    def handle_data(self, data):
        self.text += data
        if self.cell:
            self.rows[-1][-1] += data


def swept(images: int = 3) -> list[SweepRow]:
    rows = [
        SweepRow(
            (16, size, size), (4, 4, 4), 0.9, 0.1,
            {"ssim": ssim, "nrmse": 0.1, "r": 0.8}, method="halo", images=images,
        )
        for size, ssim in ((32, 0.5), (64, 0.55))
    ]  # fmt: skip
    metrics = {"ssim": 0.6, "nrmse": 0.05, "r": 0.9}
    return [*rows, SweepRow(None, (0, 0, 0), 1.0, 0.0, metrics, method="whole", images=images)]


def sweep_page(tmp_path, rows, model="network") -> Page:
    page = write_sweep_page(
        rows, tmp_path, model=model, data="pairs", command="gvtzoo sweep", files={"sweep.csv": "t"}
    )
    return Page(page.read_text(encoding="utf-8"))


def test_sweep_has_every_size_its_sentence_and_figures(tmp_path):
    page = sweep_page(tmp_path, swept())
    assert [row[:2] for row in page.rows[1:]] == [
        ["tiles with a halo", "16×32×32"],
        ["tiles with a halo", "16×64×64"],
        ["whole image", "whole"],
    ]
    assert page.rows[2][4:] == ["0.5500", "0.1000", "0.8000"]
    assert "tiles with a halo of 16×64×64 have 0.5500, the most of those that cut it" in page.text
    assert "proves nothing" not in page.text
    assert sum(address.startswith("data:image/svg") for address in page.loaded) == 3
    assert page.links == ["sweep.csv"]


def test_sweep_of_one_image_says_that_it_proves_nothing(tmp_path):
    assert "One image proves nothing" in sweep_page(tmp_path, swept(images=1)).text


@pytest.fixture
def transferred(tmp_path):
    evaluation = make_evaluation(tmp_path, structures=("nuclei", HOSTILE))
    return Transfer(evaluation)


def test_transfer_has_the_matrices_and_the_report_leads_there(tmp_path, transferred):
    page = Page(
        write_transfer_page(transferred, tmp_path, ("ssim", "nrmse"), files={}).read_text("utf-8")
    )
    matrix = transferred.matrix("ssim")
    header, *rows = page.rows[: 1 + len(matrix)]
    assert header == ["Model", "nuclei", HOSTILE]
    for row, name, values in zip(rows, transferred.models, matrix, strict=True):
        assert row[0] == name
        assert [float(cell) for cell in row[1:]] == pytest.approx(values, rel=1e-3)
    best = transferred.models[int(matrix[:, 0].argmax())]
    assert f"On nuclei, {best} has the best mean SSIM" in page.text
    assert page.links == ["index.html"]
    report = Page(write_report(transferred.evaluation, tmp_path).read_text("utf-8"))
    assert "transfer.html" in report.links


def test_pages_load_and_run_nothing(tmp_path, transferred):
    pages = [
        Page(write_transfer_page(transferred, tmp_path, ("ssim",), files={}).read_text("utf-8")),
        sweep_page(tmp_path, swept(), model=HOSTILE),
    ]
    for page in pages:
        assert HOSTILE in page.text
        assert "script" not in page.tags
        assert all(address.startswith("data:") for address in page.loaded)
