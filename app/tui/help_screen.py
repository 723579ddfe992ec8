"""The help screen: what the keys do, what the colours mean, what is kept and what is not."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Markdown

from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.tui.texts import TerminalTexts
from sparsedoctor.app.wording import model_label, where_words_go


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Close")]

    def __init__(self, model: Model, words: TerminalTexts) -> None:
        super().__init__()
        self._model, self._texts = model, words

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="dialog"):
            model, words = self._model, self._texts
            text = words.help_text.format(model=_about(model, words), where=_where(model, words))
            yield Markdown(text, open_links=False)

    def on_mount(self) -> None:
        self.query_one("#help").focus()


def _where(model: Model, words: TerminalTexts) -> str:
    where = where_words_go(model, words.code)
    if isinstance(model, ModelServer):
        return f"**{where}** {words.server_gets}"
    return f"{where} {words.offline}"


def _about(model: Model, words: TerminalTexts) -> str:
    label = model_label(model, words.code)
    if isinstance(model, ModelServer):
        return f"{label}{words.colon}`{model.address.url}`. {words.server_model}"
    lines = [f"{model.name}{words.colon}{label}{words.stop}", f"`{model.path}`"]
    if model.bundle is None:
        lines.append(words.foreign)
    else:
        made = model.bundle
        licences = "; ".join(made.licences) or words.none_stated
        lines.append(
            words.licences.format(
                made.expert_count, made.expert_used_count, made.base_name, licences
            )
        )
    return "\n\n".join(lines)
