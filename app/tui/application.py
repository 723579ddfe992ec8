"""The Textual application around the chat: themes, command palette, one screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.settings import Settings, load_settings, save_settings
from sparsedoctor.app.tui.chat_screen import ChatScreen
from sparsedoctor.app.tui.themes import THEMES
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.errors import SparseDoctorError


class ChatApp(App[None]):
    """One consultation at a time on the whole terminal."""

    TITLE = "SparseDoctor"
    CSS_PATH = "chat.tcss"
    # Textual declares these two as plain attributes, so ClassVar would contradict it.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (64, "-normal"), (104, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-medium"), (32, "-tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", "Leave", priority=True)]

    def __init__(
        self,
        engine: EngineOnDemand,
        model: Model,
        sampling: Sampling | None = None,
        history: History | None = None,
        *,
        region: str = "",
        private: bool = False,
    ) -> None:
        """Without a history nothing is saved; the caller closes `engine` and `history`."""
        super().__init__()
        self._chat = ChatScreen(
            engine,
            model,
            sampling or Sampling(),
            history or History.private(),
            region=region,
            private=private or history is None,
        )

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._theme_of_last_time = self._remembered_theme()
        self.theme_changed_signal.subscribe(self, self._remember_theme)

    def _remembered_theme(self) -> str:
        """The theme chosen last time, if it is still there."""
        try:
            chosen = load_settings().theme
        except SparseDoctorError as error:
            self.notify(str(error), severity="warning", timeout=20)
            chosen = ""
        return chosen if chosen in self.available_themes else THEMES[0].name

    def _remember_theme(self, theme: Theme) -> None:
        if theme.name == self._theme_of_last_time:
            return  # nothing was chosen
        self._theme_of_last_time = theme.name
        try:
            save_settings(Settings(theme=theme.name))
        except SparseDoctorError as error:
            self.notify(str(error), severity="warning")

    def get_default_screen(self) -> Screen[None]:
        return self._chat

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        chat = self._chat
        yield SystemCommand("New conversation", "Begin anew (Ctrl+N)", chat.action_new)
        yield SystemCommand("Stop the answer", "Keeps what is written (Esc)", chat.action_stop)
        yield SystemCommand("Copy the last answer", "To the clipboard", chat.copy_answer)
        yield SystemCommand("Answer again", "The last question, anew", chat.action_again)
        yield SystemCommand("About you", "Age, medicines, allergies (F3)", chat.action_intake)
        yield SystemCommand(
            "Conversations", "Search, open, rename, delete (F4)", chat.action_history
        )
        yield SystemCommand("Summary for a doctor", "See and save it (F5)", chat.action_summary)
        yield SystemCommand(
            "Private conversation",
            "Begin one that is not saved, or a saved one again",
            chat.action_private,
        )
        yield SystemCommand("Experts", "Show or hide them (F2)", chat.action_toggle_routing)
        yield SystemCommand("Help", "Keys, safety, privacy (F1)", chat.action_help)
        yield from super().get_system_commands(screen)
