"""A browser without a screen, and what tests do with a page in it."""

import json
import shutil

import numpy as np
import pytest


def start_browser():
    """Start chromium and yield its driver, or skip with the reason."""
    pytest.importorskip("selenium", reason="pip install selenium")
    from selenium import webdriver

    binary = shutil.which("chromium") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if not binary or not service:
        pytest.skip("there is no chromium or chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield found
    found.quit()


class Page:
    """A page in the browser."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1280, height=1600, scheme="light", media=""):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        return self

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def do(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def word(self, number, model=0):
        return self.all(f'[data-model="{model}"] .word')[number]

    def hover(self, element):
        self.actions().move_to_element(element).perform()

    def actions(self):
        from selenium.webdriver import ActionChains

        return ActionChains(self.driver, duration=20)

    def press(self, *keys):
        from selenium.webdriver import Keys

        for key in keys:
            parts = [getattr(Keys, part) for part in key.split("+")]
            chain = self.actions()
            for part in parts[:-1]:
                chain.key_down(part)
            chain.send_keys(parts[-1])
            for part in parts[:-1]:
                chain.key_up(part)
            chain.perform()

    def values(self, name="value", model=0):
        """Return the numbers of all patches as the page has drawn them."""
        script = "return [...document.querySelectorAll(arguments[0])].map((patch) => +patch.dataset[arguments[1]])"
        return np.array(self.do(script, f'[data-model="{model}"] .patch', name))

    def choose(self, **values):
        """Choose in the form as a user does."""
        for name, value in values.items():
            if name == "route":
                self.one(f'input[value="{value}"]').click()
            else:
                self.one(f'select[name="{name}"] option[value="{value}"]').click()

    def patch(self, number, view=0):
        return self.all(f'[data-model="0"] [data-view="{view}"] .patch')[number]

    def rows(self, selector):
        """Return the cells of the first table in a panel, by the text of their row header."""
        script = """return [...document.querySelector(arguments[0]).querySelectorAll("tbody tr")].map(
            (row) => [...row.children].map((cell) => cell.textContent))"""
        return {cells[0]: cells[1:] for cells in self.do(script, f"{selector} table")}

    def check_quiet(self):
        """Check that nothing was logged and nothing fetched but the file itself."""
        assert self.driver.get_log("browser") == []
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert len([url for url in asked if url.startswith("file://")]) == 1
        assert all(url.startswith(("file://", "data:image/png")) for url in asked), asked
