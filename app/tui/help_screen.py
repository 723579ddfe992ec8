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
from sparsedoctor.app.wording import where_words_go

_HELP = """\
# Help

**In an emergency do not type: call your local emergency number.** It stands at the top.

| key | what it does |
|---|---|
| Enter | sends your question |
| Ctrl+J, Shift+Enter | begins a new line |
| Esc | stops the answer; what is written stays |
| Up, Down | earlier questions, from an empty field |
| Page Up, Page Down | read up and down |
| F2 | shows or hides the experts |
| F3 | about you: age, medicines, allergies, region |
| F4 | conversations: search, open, rename, pin, delete |
| F5 | summary for a doctor |
| Ctrl+N | begins a new conversation |
| Ctrl+P | all commands, themes too |
| Ctrl+C | copies marked text |
| Ctrl+Q | leaves |

## What you see

**Before the answer** the rules speak. They read your words, not the model's, and do not depend
on it. An emergency or crisis stays at the top until a new conversation begins.

**Experts.** The model sends every piece of text to some of its experts. The bars show how much
weight each had in this answer, the map shows it layer by layer: llama.cpp's own routing of this
very text, no guess.

**Seed.** The same question with the same seed gives the same answer: `--seed N`.

## What is kept

{where}

Conversations are saved in your data folder, for you alone, while they happen. F4 finds, renames
and deletes them; deleted words are gone from the file. A private conversation (Ctrl+P, "Private")
is never written to the disk.

## The model

{model}
"""


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,f1,q", "dismiss", "Close")]

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="dialog"):
            text = _HELP.format(model=_about(self._model), where=_where(self._model))
            yield Markdown(text, open_links=False)

    def on_mount(self) -> None:
        self.query_one("#help").focus()


def _where(model: Model) -> str:
    if isinstance(model, ModelServer):
        return (
            f"**{where_words_go(model, 'en')}** With every question the conversation before it "
            "and what you told about yourself are sent. What the server keeps is up to it, in a "
            "private conversation too. The emergency rules run here, without it."
        )
    return f"{where_words_go(model, 'en')} The program opens no network connection."


def _about(model: Model) -> str:
    if isinstance(model, ModelServer):
        return f"{model.label}: `{model.address.url}`. A server does not tell its experts."
    lines = [f"{model.name}: {model.label}.", f"`{model.path}`"]
    if model.bundle is None:
        lines.append("Another program wrote this file; it has no routing to show.")
    else:
        bundle = model.bundle
        lines.append(
            f"{bundle.expert_count} experts, {bundle.expert_used_count} for each token, on "
            f"{bundle.base_name}. Licences: {'; '.join(bundle.licences) or 'none stated'}."
        )
    return "\n\n".join(lines)
