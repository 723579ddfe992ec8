"""The Textual application around the chat: themes, command palette, one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen
from textual.theme import Theme

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.interface_language import AUTO
from sparsedoctor.app.messages import told
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
        language: str = AUTO,
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
            language=language,
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
            self.notify(self._told(error), severity="warning", timeout=20)
            chosen = ""
        return chosen if chosen in self.available_themes else THEMES[0].name

    def _remember_theme(self, theme: Theme) -> None:
        if theme.name == self._theme_of_last_time:
            return  # nothing was chosen
        self._theme_of_last_time = theme.name
        try:
            save_settings(Settings(theme=theme.name))
        except SparseDoctorError as error:
            self.notify(self._told(error), severity="warning")

    def _told(self, error: SparseDoctorError) -> str:
        return told(error, self._chat.texts.code)

    def get_default_screen(self) -> Screen[None]:
        return self._chat

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Ours, and of Textual's the themes: a screenshot would put words into an open file."""
        chat = self._chat
        actions: dict[str, Callable[[], object]] = {
            "new": chat.action_new,
            "stop": chat.action_stop,
            "copy": chat.copy_answer,
            "again": chat.action_again,
            "intake": chat.action_intake,
            "history": chat.action_history,
            "summary": chat.action_summary,
            "private": chat.action_private,
            "experts": chat.action_toggle_routing,
            "help": chat.action_help,
            "theme": self.action_change_theme,
            "leave": self.action_quit,
        }
        for name, (title, explanation) in chat.texts.commands.items():
            yield SystemCommand(title, explanation, actions[name])

    async def action_quit(self) -> None:
        await self._chat.leave()
        self.exit()

    def action_help_quit(self) -> None:
        """Ctrl+C with nothing marked: most programs of a terminal end then, this one says how."""
        self.notify(self._chat.texts.how_to_leave)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, CommandPalette):
            said = self._chat.texts.search_commands
            self.push_screen(CommandPalette(id="--command-palette", placeholder=said))
