"""Where the person types: Enter sends, Ctrl+J or Shift+Enter begins a new line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

LONGEST = 20_000  # characters; more is no complaint but a book


class Prompt(TextArea):
    """A text area that sends. Up and down walk through earlier questions at its edges."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,shift+enter", "new_line", "New line", show=False),
        Binding("pageup", "scroll_conversation(-1)", "Scroll up", show=False),
        Binding("pagedown", "scroll_conversation(1)", "Scroll down", show=False),
    ]

    @dataclass
    class Sent(Message):
        """The person sent these words."""

        words: str

    @dataclass
    class Scrolled(Message):
        """The person wants to read up (-1) or down (1) in the conversation."""

        pages: int

    def __init__(self, *, id: str | None = None, placeholder: str = "") -> None:
        super().__init__(id=id, soft_wrap=True, show_line_numbers=False, placeholder=placeholder)
        self.highlight_cursor_line = False
        self.said_when_cut = ""  # with {} for the most characters
        self._earlier: list[str] = []
        self._looking_at = 0  # index into `_earlier`; its length: the new text

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            if self.text.strip():
                self.post_message(self.Sent(self.text.strip()))

    async def _on_paste(self, event: events.Paste) -> None:
        # One text area, one kind of line end: a paste from elsewhere may carry \r\n.
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        room = LONGEST - len(self.text)
        if len(text) > room:
            self.notify(self.said_when_cut.format(f"{LONGEST:,}"), severity="warning")
        event.text = text[: max(0, room)]  # Textual calls the handler of TextArea next

    def accepted(self, words: str) -> None:
        """The words were taken: empty the field and remember them."""
        self._earlier.append(words)
        self._looking_at = len(self._earlier)
        self.clear()

    def action_new_line(self) -> None:
        start, end = self.selection
        self._replace_via_keyboard("\n", start, end)

    def action_scroll_conversation(self, pages: int) -> None:
        self.post_message(self.Scrolled(pages))

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.cursor_at_first_line and self._look(-1):
            return
        super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.cursor_at_last_line and self._look(1):
            return
        super().action_cursor_down(select)

    def _look(self, step: int) -> bool:
        """Show the question before or after; only while the field holds no new words."""
        at = self._looking_at + step
        shown = self._earlier[self._looking_at] if self._looking_at < len(self._earlier) else ""
        if self.text != shown or not 0 <= at <= len(self._earlier):
            return False
        self._looking_at = at
        self.text = self._earlier[at] if at < len(self._earlier) else ""
        self.move_cursor(self.document.end)
        return True
