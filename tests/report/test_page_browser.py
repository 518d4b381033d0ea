"""The report as it is read: with a pointer, with a keyboard, on a phone, in the dark, printed."""

from __future__ import annotations

import base64

import pytest
from evaluations import make_evaluation

from gvtzoo.report.page import write_report

pytestmark = pytest.mark.browser

HOSTILE = "<script>window.ran = true</script><img src=x onerror='window.ran = true'>"
TAB, ENTER = "\ue004", "\ue007"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    evaluation = make_evaluation(
        folder, models=("network", f"filter {HOSTILE}"), conditions=("2 photons", "10 photons")
    )
    (folder / "metrics.csv").write_text(evaluation.table())
    return write_report(evaluation, folder)


@pytest.fixture
def page(chromium, report):
    from browser import Page

    return Page.opened(chromium, report)


def column(page, name: str) -> list[str]:
    """The cells of the table of images, top down."""
    return page.run(
        "const table = document.querySelector('#table table');"
        "const place = [...table.tHead.rows[0].cells]"
        "  .findIndex((cell) => cell.textContent.startsWith(arguments[0]));"
        "return [...table.tBodies[0].rows].map((row) => row.cells[place].textContent)",
        name,
    )


def header(page, name: str):
    buttons = page.find_all("#table th button")
    return next(button for button in buttons if button.text.startswith(name))


def screenshot(page) -> bytes:
    return base64.b64decode(page.driver.get_screenshot_as_base64())


def brightness(png: bytes) -> float:
    from imagecodecs import png_decode

    return float(png_decode(png)[..., :3].mean())


def test_opens_without_complaints_and_loads_nothing_else(page, report):
    assert page.messages() == []
    asked_for = {address for address in page.requests() if not address.startswith("data:")}
    assert asked_for == {report.as_uri()}
    widths = page.run("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) > 10
    assert all(width > 0 for width in widths)


def test_names_are_text_and_never_run(page):
    assert page.run("return window.ran === undefined")
    assert HOSTILE in page.find("h1").text
    page.run(
        "const s = document.createElement('script'); s.text = 'ran = true'; document.body.append(s)"
    )
    assert page.run("return window.ran === undefined"), "a foreign script ran"


def test_sorts_by_numbers_up_and_down(page):
    values = column(page, "PSNR")
    button = header(page, "PSNR")
    button.click()
    assert column(page, "PSNR") == sorted(values, key=float)
    assert page.run("return arguments[0].parentElement.ariaSort", button) == "ascending"
    button.send_keys(ENTER)
    assert column(page, "PSNR") == sorted(values, key=float, reverse=True)
    assert page.run("return arguments[0].parentElement.ariaSort", button) == "descending"
    header(page, "SSIM").click()
    assert page.run("return document.querySelectorAll('#table [aria-sort]').length") == 1


def test_sorts_words_as_people_do(page):
    header(page, "Condition").click()
    assert column(page, "Condition") == ["2 photons"] * 8 + ["10 photons"] * 8


def test_cells_without_a_number_stay_last(page):
    page.run("document.querySelector('#table td[data-value]').dataset.value = ''")
    empty = column(page, "Pearson")[0]
    for _ in range(2):
        header(page, "Pearson").click()
        assert column(page, "Pearson")[-1] == empty


@pytest.mark.parametrize("width", [390, 768, 1280, 1600])
def test_fits_any_width(page, width):
    page.resize(width, 800)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.run("return document.documentElement.scrollWidth") <= width
    wide = page.run(
        "return [...document.querySelectorAll('img.plot')]"
        ".filter((e) => e.getBoundingClientRect().width < 300).length"
    )
    assert wide == 0


@pytest.mark.parametrize("width", [1280, 1600])
def test_no_table_is_cut_on_a_desk(chromium, tmp_path, width):
    """With all metrics there are, and names as long as people give them."""
    from browser import Page

    models = ("gvtnet_denoising_trained_on_2026-03-11_second_try", "gaussian_filter_of_the_input")
    evaluation = make_evaluation(tmp_path, models=models, images=("mito-20x-noise1_00.tif", "b"))
    others = ("resolution", "foreground_iou", "foreground_dice", "count", "count_target")
    more = (*others, "object_f1", "mean_matched_iou")
    results = [
        row.model_copy(update={"metrics": row.metrics | dict.fromkeys(more, 0.1234)})
        for row in evaluation.results
    ]
    every = (*evaluation.metrics, *more)
    evaluation = evaluation.model_copy(update={"metrics": every, "results": tuple(results)})
    page = Page.opened(chromium, write_report(evaluation, tmp_path))
    page.resize(width, 800)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    cut = page.run(
        "return [...document.querySelectorAll('.scroll:has(table)')]"
        ".filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.ariaLabel)"
    )
    assert cut == []


def test_everything_is_reached_with_the_tab_key(page):
    wanted = page.run(
        "return [...document.querySelectorAll('a, button, summary, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility())"
    )
    reached = []
    for _ in wanted:
        page.focused.send_keys(TAB)
        reached.append(page.focused)
    assert reached == wanted


def test_is_dark_where_that_is_preferred_and_so_are_figures(page):
    page.run("document.querySelector('img.plot').scrollIntoView()")
    light = screenshot(page)
    page.prefer(prefers_color_scheme="dark")
    assert brightness(screenshot(page)) < 80 < 180 < brightness(light)

    def ink() -> list[int]:
        """The colour that is furthest from the page's, of a figure."""
        return page.run(
            "const image = document.querySelector('img.plot');"
            "const canvas = document.createElement('canvas');"
            "[canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];"
            "const context = canvas.getContext('2d');"
            "context.drawImage(image, 0, 0);"
            "const data = context.getImageData(0, 0, canvas.width, canvas.height).data;"
            "const counts = {};"
            "for (let i = 0; i < data.length; i += 4)"
            "  if (data[i + 3] === 255) {"
            "    const key = `${data[i]},${data[i + 1]},${data[i + 2]}`;"
            "    counts[key] = (counts[key] ?? 0) + 1;"
            "  }"
            "return counts"
        )

    dark_counts = ink()
    page.prefer(prefers_color_scheme="light")
    assert dark_counts.get("230,235,240", 0) > 50
    assert ink().get("22,32,42", 0) > 50


def test_prints_what_is_folded(page):
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("return [...document.querySelectorAll('details')].every((part) => part.open)")
    assert page.driver.print_page()


def test_is_readable_without_script(page, report):
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.driver.get(report.as_uri())
        assert page.find("#table table").is_displayed()
        assert page.find_all("th button") == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
