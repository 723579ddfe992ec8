"""The page in a browser's tab, as a person sees and uses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.support.ui import WebDriverWait

ENTER, ESCAPE, TAB_KEY = "\ue007", "\ue00c", "\ue004"
_CLEAR = ("\ue009a", "\ue017")  # Ctrl+A, Delete


class Tab:
    def __init__(self, browser: Any, url: str, ready: str = "ready") -> None:
        self.browser = browser
        self._wait = WebDriverWait(browser, 60, poll_frequency=0.05)
        browser.get(url)
        self.loaded(ready)

    def loaded(self, ready: str = "ready") -> None:
        """Wait until the page is there and says that the model is."""
        self.until(lambda: self.one("#words textarea").is_displayed())
        self.until(lambda: ready in self.text("#status"))

    def until(self, condition: Callable[[], object]) -> None:
        def holds(_browser: Any) -> object:
            try:
                return condition()
            except (NoSuchElementException, StaleElementReferenceException):
                return False

        try:
            self._wait.until(holds)
        except TimeoutException:
            raise AssertionError(f"it did not come about; the page says: {self.body}") from None

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.one(selector).text)

    def value(self, selector: str) -> str:
        return str(self.one(selector).get_attribute("value"))

    @property
    def body(self) -> str:
        return self.text("body")

    def click(self, selector: str) -> None:
        """Press what can be pressed, once it can be."""
        self.until(lambda: self.one(selector).is_displayed() and self.one(selector).is_enabled())
        self.one(selector).click()

    def type(self, *keys: str) -> None:
        self.one("#words textarea").send_keys(*keys)

    def fill(self, selector: str, words: str) -> None:
        """Replace what stands in a field."""
        self.until(lambda: self.one(selector).is_displayed())
        field = self.one(selector)
        field.send_keys(*_CLEAR)
        if words:
            field.send_keys(words)

    def ask(self, words: str) -> None:
        """Send a question; the answer is being written or already there afterwards."""
        before = self._turns
        self.type(words, ENTER)
        self.until(lambda: self._turns > before)

    def answered(self, words: str) -> None:
        """Send a question and wait for the end of its answer."""
        self.ask(words)
        self.settled()

    def begin(self) -> None:
        """Begin a new conversation."""
        self.click("#new")
        self.until(lambda: self._turns == 0 and not self.all("#chat .words"))

    def settled(self) -> None:
        """Wait until no answer is being written and all of it is drawn."""
        self.until(lambda: self.all("#status [data-state=idle]"))
        self.until(lambda: self.one("#send").is_enabled() and not self.one("#stop").is_enabled())
        self.until(lambda: len(self.all("#chat .words")) == self._turns)

    @property
    def _turns(self) -> int:
        """How many questions were asked; drawn together with whether one is being answered."""
        return int(str(self.one("#status p").get_attribute("data-turns")))

    def open(self, panel: str) -> None:
        """Open a panel at the side, if it is not."""
        head = self.one(f"#{panel} > button")
        if "open" not in str(head.get_attribute("class")).split():
            head.click()

    def choose(self, field: str, value: str) -> None:
        """Choose one of several in `#field`."""
        self.click(f"#{field} input[value='{value}']")
