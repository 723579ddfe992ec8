"""A real server on a free port of this computer, with an engine that plays a script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest
from model_server import free_port
from scripted_model import SPARSE

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.engine.scripted import Reply, ScriptedEngine

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from web.tab import Tab


@dataclass
class Server:
    """A running page. `reply` is what the engine answers next; `home` holds its files."""

    url: str
    engine: ScriptedEngine
    home: Path
    reply: dict[str, Reply] = field(default_factory=dict)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    from sparsedoctor.app.web.hardening import prepare_environment

    before, mask = dict(os.environ), os.umask(0o022)
    home = tmp_path_factory.mktemp("web-home")
    os.environ["SPARSEDOCTOR_HOME"] = str(home)
    prepare_environment()
    from sparsedoctor.app.web.page import Page

    running = Server("", ScriptedEngine(), home)

    def script(_messages: Any) -> Reply:
        return running.reply.get("next", Reply())

    running.engine = ScriptedEngine(script, layers=30)
    history = History.open()
    engine = EngineOnDemand(lambda: running.engine)
    page = Page(engine, SPARSE, Sampling(), history, region="GB")
    port = free_port()
    page.launch(port)
    page.load_model()
    running.url = f"http://127.0.0.1:{port}"
    yield running
    page.close()
    history.close()
    os.umask(mask)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    opened = open_browser()
    yield opened
    opened.quit()


@pytest.fixture
def tab(server: Server, browser: Chrome) -> Iterator[Tab]:
    """The page, just opened; other tabs that a test opened are closed after it."""
    from web.tab import Tab

    server.reply.clear()
    first = browser.current_window_handle
    yield Tab(browser, server.url)
    for other in browser.window_handles:
        if other != first:
            browser.switch_to.window(other)
            browser.close()
    browser.switch_to.window(first)


@pytest.fixture
def window(browser: Chrome) -> Iterator[Callable[[int, int], None]]:
    """Give the page a window of this size; it has its old size again after the test."""

    def set_size(width: int, height: int) -> None:
        # A window has a least width; the page in it is as on a telephone.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    yield set_size
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def downloads(browser: Chrome, tmp_path: Path) -> Iterator[Callable[[], list[Path]]]:
    """Lets the browser save files; lists those that are whole."""
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    yield lambda: [one for one in tmp_path.iterdir() if one.suffix != ".crdownload"]
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "default"})


def open_browser(language: str = "en") -> Chrome:
    """Headless Chromium that can reach nothing but this computer."""
    chromium, driver = which("chromium"), which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
