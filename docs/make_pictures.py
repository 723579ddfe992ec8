"""Make the pictures of the README again, from the running programs with the default model.

    python docs/make_pictures.py            # docs/pictures/tui.png and web.png

Needs Chromium with its driver, and the extras `web` and `dev`.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import which

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_files import open_model
from sparsedoctor.app.tui.application import ChatApp
from sparsedoctor.app.tui.prompt import Prompt
from sparsedoctor.core.engine.protocol import EngineSettings, Sampling
from sparsedoctor.core.models import DEFAULT

FOLDER = Path(__file__).resolve().parent / "pictures"
QUESTION = "What is asthma and how is it treated?"
SEED = 3
PORT = 8461  # below those that the system gives to browsers
LONGEST = 90  # tokens
ENTER = "\ue007"


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    browser = _browser()
    try:
        _picture_of_terminal(browser, asyncio.run(_terminal()))
        _picture_of_page(browser)
    finally:
        browser.quit()
    return 0


async def _terminal() -> str:
    """One question in the chat; the screen as SVG."""
    model = open_model(DEFAULT)
    engine = EngineOnDemand.on(model.path, EngineSettings())
    app = ChatApp(engine, model, Sampling(seed=SEED, max_tokens=LONGEST), region="GB")
    try:
        async with app.run_test(size=(112, 34)) as pilot:
            app.screen.query_one(Prompt).insert(QUESTION)
            await pilot.press("enter")
            await asyncio.sleep(1)
            while getattr(app.screen, "busy", False):
                await asyncio.sleep(0.2)
            await pilot.pause(0.5)
            return app.export_screenshot(title="SparseDoctor")
    finally:
        engine.close()


def _picture_of_terminal(browser: webdriver.Chrome, svg: str) -> None:
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None
    width, height = (int(float(part)) for part in size.groups())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "tui.html"
        # The SVG names a font of the net; the machine's own is used.
        own = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
        page.write_text(f'<body style="margin:0">{own}</body>', "utf-8")
        browser.set_window_size(width, height)
        inner = browser.execute_script("return window.innerHeight")
        browser.set_window_size(width, 2 * height - inner)
        browser.get(page.as_uri())
        browser.save_screenshot(str(FOLDER / "tui.png"))


def _picture_of_page(browser: webdriver.Chrome) -> None:
    command = [sys.executable, "-m", "sparsedoctor.app.web.cli", "--no-browser", "--private"]
    options = ["--port", str(PORT), "--seed", str(SEED), "--max-tokens", str(LONGEST)]
    server = subprocess.Popen(
        [*command, *options, "--region", "GB"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        browser.set_window_size(1280, 980)
        browser.get(f"http://127.0.0.1:{PORT}/")
        wait = WebDriverWait(browser, 120)
        wait.until(lambda b: "ready" in b.find_element("css selector", "#status").text)
        browser.find_element("css selector", "#words textarea").send_keys(QUESTION, ENTER)
        wait.until(lambda b: "tokens/s" in b.find_element("css selector", "#status").text)
        time.sleep(2)  # the last picture of the answer
        browser.save_screenshot(str(FOLDER / "web.png"))
    finally:
        server.terminate()
        server.wait(30)


def _browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = which("chromium") or "chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(which("chromedriver")))


if __name__ == "__main__":
    sys.exit(main())
