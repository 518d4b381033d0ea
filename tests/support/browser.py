"""A headless Chromium for tests of pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait


class Page:
    """A page in the browser.

    Attributes
    ----------
    driver : webdriver.Chrome
        For what is not here.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    @classmethod
    def opened(cls, driver: webdriver.Chrome, path: Path) -> Page:
        """A file, freshly opened, 1280 pixels wide, in light colours."""
        page = cls(driver)
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.prefer()
        driver.get("about:blank")
        page.messages()
        page.requests()
        driver.get(path.as_uri())
        return page

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    @property
    def focused(self) -> WebElement:
        return self.driver.switch_to.active_element

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until the condition holds, ten seconds at most."""
        WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: condition())

    def prefer(self, **features: str) -> None:
        """Media features, such as ``prefers_color_scheme="dark"``."""
        values = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": values})

    def resize(self, width: int, height: int) -> None:
        """The size that the page gets, as on a phone."""
        metrics: Mapping[str, object] = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 2,
            "mobile": True,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(metrics))

    def messages(self) -> list[str]:
        """What the console has shown since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses of everything that was asked for since the last call, pages included."""
        events = [
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        ]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """The system's Chromium, without access to the network.

    Raises
    ------
    FileNotFoundError
        When Chromium or its driver is not installed.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"),
        *("--window-size=1280,1000", f"--user-data-dir={profile}"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(
            f"{name} is not installed: `apt-get install chromium chromium-driver`, or leave the "
            "tests marked browser out"
        )
    return path
