"""The list of conversations: search, take up again, rename, pin, branch, export, delete."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from sparsedoctor.app.consultation.history import Conversation, History
from sparsedoctor.app.messages import told
from sparsedoctor.app.tui.background import call_in_background
from sparsedoctor.app.tui.small_dialogs import ConfirmScreen, LineScreen
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.core.errors import SparseDoctorError

ALL = "*"  # what `deleted` holds when every conversation was deleted


class HistoryScreen(ModalScreen[str | None]):
    """Returns the conversation to take up again, or None. `deleted` says what is gone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close"),
        Binding("down", "to_list", "To the list", show=False),
        # The search field would take Ctrl+D for itself.
        Binding("ctrl+r", "rename", "Rename", priority=True),
        Binding("ctrl+t", "pin", "Pin", priority=True),
        Binding("ctrl+b", "branch", "Branch", priority=True),
        Binding("ctrl+e", "export", "Export", priority=True),
        Binding("ctrl+d", "delete", "Delete", priority=True),
    ]

    def __init__(self, history: History, words: TerminalTexts) -> None:
        super().__init__()
        self._history, self._texts = history, words
        self._listed: dict[str, Conversation] = {}
        self.deleted: set[str] = set()

    def compose(self) -> ComposeResult:
        words = self._texts
        with Vertical(classes="dialog -tall"):
            yield Static(words.conversations, classes="heading")
            yield Input(placeholder=words.search_hint, id="search", compact=True)
            yield OptionList(id="conversations")
            yield Static("", id="history-note", classes="muted", markup=False)
            with Horizontal(classes="row"):
                yield Button(words.open, variant="primary", id="open", compact=True)
                yield Button(f"{words.rename} ^r", id="rename", compact=True)
                yield Button(f"{words.pin} ^t", id="pin", compact=True)
                yield Button(f"{words.branch} ^b", id="branch", compact=True)
            with Horizontal(classes="row -more"):
                yield Button(f"{words.export} ^e", id="export", compact=True)
                yield Button(f"{words.delete} ^d", id="delete", compact=True)
                yield Button(words.delete_all, id="delete-all", compact=True)

    def on_mount(self) -> None:
        self._refill()

    @on(Input.Changed, "#search")
    def _refill(self) -> None:
        self._fill(self.query_one("#search", Input).value)

    @work(group="fill", exclusive=True, exit_on_error=False)
    async def _fill(self, query: str) -> None:
        found = await call_in_background(lambda: self._history.conversations(query or None))
        self._listed = {one.id: one for one in found}
        options = self.query_one("#conversations", OptionList)
        options.clear_options()
        options.add_options(Option(_line(one, self._texts), id=one.id) for one in found)
        if found:
            options.highlighted = 0
        nothing = self._texts.nothing_found if query else self._texts.nothing_saved
        many = self._texts.many.format(len(found))
        self.query_one("#history-note", Static).update(many if found else nothing)

    def action_to_list(self) -> None:
        self.query_one("#conversations").focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    @on(Input.Submitted, "#search")
    @on(Button.Pressed, "#open")
    def _open(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.dismiss(chosen.id)

    @on(Button.Pressed, "#rename")
    @work(group="change", exclusive=True)
    async def action_rename(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        title = await self.app.push_screen_wait(LineScreen(self._texts.new_title, chosen.title))
        if title is not None:
            await call_in_background(lambda: self._history.rename(chosen.id, title))
            self._refill()

    @on(Button.Pressed, "#pin")
    @work(group="change", exclusive=True)
    async def action_pin(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            await call_in_background(lambda: self._history.pin(chosen.id, not chosen.pinned))
            self._refill()

    @on(Button.Pressed, "#branch")
    @work(group="change", exclusive=True)
    async def action_branch(self) -> None:
        """Take up a copy of the chosen conversation; the original stays as it is."""
        chosen = self._chosen()
        if chosen is None:
            return
        history = self._history
        try:
            self.dismiss(await call_in_background(lambda: history.branch_whole(chosen.id)))
        except SparseDoctorError as error:
            self.notify(told(error, self._texts.code), severity="error")

    @on(Button.Pressed, "#export")
    @work(group="change", exclusive=True)
    async def action_export(self) -> None:
        """Write the chosen conversation into a file."""
        from sparsedoctor.app.tui.export_screen import ExportScreen

        chosen = self._chosen()
        if chosen is not None:
            await self.app.push_screen_wait(ExportScreen(self._history, chosen, self._texts))

    @on(Button.Pressed, "#delete")
    @work(group="change", exclusive=True)
    async def action_delete(self) -> None:
        chosen = self._chosen()
        words = self._texts
        if chosen is not None and await self.app.push_screen_wait(
            ConfirmScreen(words.sure.format(chosen.title), yes=words.delete, no=words.no)
        ):
            await self._delete(chosen.id)

    @on(Button.Pressed, "#delete-all")
    @work(group="change", exclusive=True)
    async def _delete_all(self) -> None:
        words = self._texts
        if await self.app.push_screen_wait(
            ConfirmScreen(words.sure_all, yes=words.delete_all, no=words.no)
        ):
            await self._delete(ALL)

    async def _delete(self, which: str) -> None:
        """Delete one or all; the words are gone from the file when this returns."""
        history = self._history
        try:
            if which == ALL:
                await call_in_background(history.delete_all)
            else:
                await call_in_background(lambda: history.delete(which))
        except SparseDoctorError as error:
            self.notify(told(error, self._texts.code), severity="error")
            return
        self.deleted.add(which)
        for notice in history.take_notices():
            self.notify(notice.text(self._texts.code), severity="warning")
        self._refill()

    def action_close(self) -> None:
        self.dismiss(None)

    def _chosen(self) -> Conversation | None:
        options = self.query_one("#conversations", OptionList)
        if options.highlighted is None:
            return None
        return self._listed.get(options.get_option_at_index(options.highlighted).id or "")


def _line(one: Conversation, words: TerminalTexts) -> Content:
    """A conversation in two lines: its title, and when it was last used."""
    when = datetime.fromisoformat(one.updated).astimezone().strftime("%Y-%m-%d %H:%M")
    marks = ("★ " if one.pinned else "") + ("↳ " if one.parent else "")  # pinned, a branch
    return Content.assemble(
        (f"{marks}{one.title}", "bold"), "\n", (words.messages.format(when, one.messages), "dim")
    )
