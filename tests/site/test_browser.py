"""The page as it is used: with a pointer, with a keyboard, on a phone, in the dark."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

TAB, SPACE, ENTER = "\ue004", " ", "\ue007"
RIGHT, LEFT, HOME, END = "\ue014", "\ue012", "\ue011", "\ue010"


def shown(page) -> list[str]:
    return [
        article.get_attribute("id")
        for article in page.find_all("article")
        if article.is_displayed()
    ]


def clipped(page) -> float:
    """Share of the picture's width at which the input ends and the prediction begins."""
    clip = page.run("return getComputedStyle(document.querySelector('.before')).clipPath")
    # as in inset(0px calc(100% - 52%) 0px 0px), or resolved
    numbers = clip.partition("0px ")[2].partition(" 0px")[0]
    percent = numbers.replace("calc(100% - ", "").replace("%)", "").rstrip("%")
    return float(percent) if "calc" in numbers else 100 - float(percent)


def choose(page, name: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(page.find(f"#{name}")).select_by_value(value)


def test_opens_without_complaints_and_loads_only_its_own_files(page, site):
    assert page.messages() == []
    asked_for = {address for address in page.requests() if not address.startswith("data:")}
    folder = site.parent.as_uri()
    assert asked_for == {
        f"{folder}/{name}"
        for name in (
            "index.html",
            "style.css",
            "page.js",
            "models/denoise-nuclei/input.png",
            "models/denoise-nuclei/prediction.png",
            "models/denoise-nuclei/truth.png",
        )
    }
    pictures = page.run("return [...document.images].map((image) => image.naturalWidth)")
    assert pictures
    assert all(width >= 512 for width in pictures)


def test_slider_moves_by_keyboard(page):
    split = page.find(".split")
    assert clipped(page) == 50
    split.send_keys(RIGHT * 3)
    assert clipped(page) == 53
    assert split.get_attribute("aria-valuetext") == "53 % input, 47 % prediction"
    split.send_keys(HOME)
    assert clipped(page) == 0
    split.send_keys(END)
    assert clipped(page) == 100


@pytest.mark.parametrize("share", [0.25, 0.8])
def test_slider_moves_to_the_pointer(page, share):
    from selenium.webdriver import ActionChains

    split = page.find(".split")
    width = split.rect["width"]
    (
        ActionChains(page.driver)
        .move_to_element(split)
        .click_and_hold()
        .move_by_offset(round((share - 0.5) * width), 0)
        .release()
        .perform()
    )
    assert clipped(page) == pytest.approx(100 * share, abs=1)
    edge = page.find(".edge").rect
    middle = (edge["x"] + edge["width"] / 2 - split.rect["x"]) / width
    assert middle == pytest.approx(share, abs=0.02)


def test_pictures_lie_over_each_other(page):
    before, after = page.find(".before").rect, page.find(".after").rect
    assert before == after


def test_scale_bar_is_as_long_as_it_says(page):
    bar, picture = page.find(".bar"), page.find(".before")
    assert bar.text.endswith("5 µm")  # of 40 pixels of 0.5 µm
    assert bar.rect["width"] / picture.rect["width"] == pytest.approx(0.25, abs=0.01)


def test_truth_is_as_large_as_the_prediction(page):
    truth, prediction = page.find(".truth img"), page.find(".after")
    assert truth.accessible_name == "Truth of Denoising of nuclei"
    assert truth.size == prediction.size


@pytest.mark.parametrize("width", [390, 768, 1280, 1600])
def test_no_table_or_caption_is_cut(page, width):
    page.resize(width, 800)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    cut = page.run(
        "return [...document.querySelectorAll('.scroll, caption, figcaption')]"
        ".filter((e) => e.scrollWidth > e.clientWidth).length"
    )
    assert cut == 0


def test_search_finds_all_words_in_any_case(page):
    search = page.find("#search")
    search.send_keys("transmitted DNA")
    assert shown(page) == ["label-free-dna"]
    assert page.find("#count").text == "1 of 4 models"
    search.clear()
    search.send_keys("zebra")
    assert shown(page) == []
    assert page.find("#nothing").is_displayed()


def test_filters_by_task_structure_and_dimensions(page):
    choose(page, "task", "label_free")
    assert shown(page) == ["label-free-actin", "label-free-dna"]
    choose(page, "structure", "actin filaments")
    assert shown(page) == ["label-free-actin"]
    choose(page, "dimensions", "3D → 2D")
    assert shown(page) == []
    page.find("button[type=reset]").click()
    page.wait(lambda: len(shown(page)) == 4)  # the page filters after the form has been emptied
    choose(page, "dimensions", "3D → 2D")
    assert shown(page) == ["project-wing"]


def test_count_is_announced(page):
    assert page.find("#count").get_attribute("role") == "status"
    assert page.find("#count").text == "4 of 4 models"


def test_enter_in_the_search_keeps_the_page(page, site):
    page.find("#search").send_keys("nuclei", ENTER)
    assert page.driver.current_url == site.as_uri()
    assert shown(page) == ["denoise-nuclei"]


@pytest.fixture
def paste(page):
    """What was copied, as a paste into the search field shows it."""

    def text() -> str:
        page.run(
            "const field = document.createElement('textarea'); field.id = 'pasted';"
            "document.body.append(field)"
        )
        page.find("#pasted").send_keys("\ue009", "v")
        return page.find("#pasted").get_property("value")

    return text


@pytest.mark.parametrize("clipboard", ["there", "missing", "refused"])
@pytest.mark.parametrize("number", [0, 1], ids=["one line", "several lines"])
def test_commands_are_copied(page, cards, paste, clipboard, number):
    if clipboard == "missing":
        page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    if clipboard == "refused":
        page.run("navigator.clipboard.writeText = () => Promise.reject(new Error('refused'))")
    button = page.find_all("article:first-of-type [data-copy]")[number]
    button.send_keys(ENTER)
    page.wait(lambda: button.text == "Copied")
    page.wait(lambda: page.find("#announcement").get_property("textContent") == "Copied")
    assert page.focused == button
    assert paste() == cards[0].commands[number].text


def test_what_cannot_be_copied_is_selected(page, cards):
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.run("document.execCommand = () => false")
    button = page.find("[data-copy]")
    button.click()
    page.wait(lambda: button.text == "Selected")
    assert page.run("return getSelection().toString()") == cards[0].commands[0].text


def test_everything_is_reached_with_the_tab_key(page):
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    wanted = page.find_all("a, input, select, button, summary, [tabindex='0']")
    reached, outlined = [], []
    for _ in wanted:
        page.focused.send_keys(TAB)
        reached.append(page.focused)
        outlined.append(
            page.run(
                "const style = (e) => getComputedStyle(e).outlineStyle;"
                "const e = document.activeElement;"
                "return style(e) !== 'none' || style(e.parentElement) !== 'none'"
            )
        )
    assert reached == wanted
    assert all(outlined)


def test_skip_link_leads_past_the_filters(page):
    page.find("body").send_keys(TAB)
    assert page.focused.is_displayed()
    page.focused.send_keys(ENTER)
    page.focused.send_keys(TAB)
    assert page.focused == page.find(".split")


def test_details_open_by_keyboard(page):
    summary = page.find("article:first-of-type details:last-of-type summary")
    link = page.find("a[download]")
    assert not link.is_displayed()
    summary.send_keys(ENTER)
    assert link.is_displayed()


def test_controls_have_names_and_roles(page):
    names = {
        selector: (page.find(selector).aria_role, page.find(selector).accessible_name)
        for selector in ("form", "#search", "#task", "main", "header", "article", ".split")
    }
    assert names == {
        "form": ("search", "Find models"),
        "#search": ("searchbox", "Search"),
        "#task": ("combobox", "Task"),
        "main": ("main", "Models"),
        "header": ("banner", ""),
        "article": ("article", "Denoising of nuclei"),
        ".split": (
            "slider",
            "Part of the picture that shows the input; the rest shows the prediction",
        ),
    }


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_fits_any_width(page, width):
    page.resize(width, 800)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.run("return document.documentElement.scrollWidth") <= width
    small = page.run(
        "return [...document.querySelectorAll('button, select, #search, summary')]"
        ".filter((e) => e.getBoundingClientRect().height < 24).length"
    )
    assert small == 0


def test_is_dark_where_that_is_preferred(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(background)
    page.prefer(prefers_color_scheme="dark")
    assert _lightness(page.run(background)) < 50 < 200 < _lightness(light)


def test_moves_nothing_where_that_is_preferred(page):
    page.prefer(prefers_reduced_motion="reduce")
    durations = page.run(
        "return [...document.querySelectorAll('*')].flatMap((e) =>"
        "[getComputedStyle(e).transitionDuration, getComputedStyle(e).animationDuration])"
    )
    assert set(durations) <= {"0s", ""}


def test_is_readable_without_script(page, site):
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.driver.get(site.as_uri())
        before, after = page.find(".before").rect, page.find(".after").rect
        assert before["x"] + before["width"] <= after["x"]
        assert before["width"] > 50
        unusable = page.find_all("form, .split, [data-copy]")
        assert unusable
        assert not any(element.is_displayed() for element in unusable)
        assert len(shown(page)) == 4
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _lightness(color: str) -> float:
    channels = color.partition("(")[2].rstrip(")").split(",")[:3]
    return sum(map(float, channels)) / 3
