"""The consultation on the screen: emergency line, conversation, experts, prompt, status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Markdown, Static

from sparsedoctor.app.consultation.consultation import (
    Assessed,
    Consultation,
    ConsultationEvent,
)
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.numbers import emergency_line
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_files import ModelFile
from sparsedoctor.app.routing_view import expert_names, why_no_routing
from sparsedoctor.app.tui.alarm import AlarmBanner
from sparsedoctor.app.tui.background import call_in_background, in_background
from sparsedoctor.app.tui.prompt import Prompt
from sparsedoctor.app.tui.routing_panel import RoutingPanel, strip
from sparsedoctor.app.tui.turn import TurnCard
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import language_of_interface, wording
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.errors import SparseDoctorError

Asking = Callable[[], Iterator[ConsultationEvent]]
_FRAME = 1 / 30  # seconds between two drawings of a growing answer


class ChatScreen(Screen[None]):
    """Shows one `Consultation` at a time. The model loads while the screen is already there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop answer"),
        Binding("f1", "help", "Help"),
        Binding("f2", "toggle_routing", "Experts"),
        Binding("ctrl+n", "new", "New"),
    ]

    def __init__(
        self, engine: EngineOnDemand, model: ModelFile, sampling: Sampling, region: str
    ) -> None:
        super().__init__()
        self._engine, self._model = engine, model
        self._sampling, self._region = sampling, region
        self._consultation = Consultation(engine.seat(), region=region, private=True)
        self._language: Language = "en"
        self._names = expert_names(model.bundle, model.experts)
        self._why_not = "" if model.experts else "routing not available (plain model)"
        self._idle = asyncio.Event()
        self._idle.set()

    def compose(self) -> ComposeResult:
        yield Static(f"SparseDoctor: {self._model.label}", id="label", markup=False)
        yield Static("", id="emergency-line", markup=False)
        yield AlarmBanner(id="alarm")
        with Horizontal(id="middle"):
            with VerticalScroll(id="conversation", can_focus=False), Vertical(id="turns"):
                yield Static(wording("en").welcome, id="welcome", markup=False)
            yield RoutingPanel(id="routing")
        yield Static("", id="routing-strip", markup=False)
        yield Prompt(id="prompt", placeholder=wording("en").placeholder)
        with Horizontal(id="status"):
            yield Static("", id="state", markup=False)
            yield Static("", id="speed", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#conversation", VerticalScroll).anchor()
        self.query_one(Prompt).focus()
        self.query_one(RoutingPanel).explain(self._names, self._why_not)
        self._show_language("en")
        self._show_routing(TurnView())
        self._load()

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return not self._idle.is_set()

    @property
    def consultation(self) -> Consultation:
        return self._consultation

    @work(group="load", exit_on_error=False)
    async def _load(self) -> None:
        self._set_state(wording(self._language).loading)
        try:
            info = await call_in_background(self._engine.load)
        except SparseDoctorError as error:
            self._set_state("the model could not be loaded")
            self.notify(str(error), title="The model could not be loaded", severity="error")
            return
        self._names = expert_names(info.bundle or self._model.bundle, info.experts)
        self._why_not = why_no_routing(info)
        self.query_one(RoutingPanel).explain(self._names, self._why_not)
        self._show_routing(TurnView())
        if not self.busy:
            self._set_state(wording(self._language).ready)

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        if self.busy:
            self.notify("An answer is being written; Esc stops it.", severity="warning")
            return
        self.query_one(Prompt).accepted(event.words)
        self._turn(event.words)

    @work(group="turn", exit_on_error=False)
    async def _turn(self, words: str) -> None:
        self._idle.clear()
        self.query_one("#welcome").display = False
        card = TurnCard(words)
        await self.query_one("#turns").mount(card)
        self.query_one("#conversation", VerticalScroll).anchor()
        self._set_state(wording(self._language).writing, speed="")
        state = wording(self._language).ready
        try:
            await self._follow(card, lambda: self._consultation.ask(words, self._sampling))
        except SparseDoctorError as error:
            card.fail(f"{error} Ask again when you like; what you wrote is kept.")
            state = "the last answer failed"
        finally:
            await card.settle()
            self._idle.set()
            self._set_state(state)

    async def _follow(self, card: TurnCard, ask: Asking) -> None:
        """Draw the events of one turn as they come, at most thirty times a second."""
        view = TurnView()
        async for batch in in_background(ask):
            for event in batch:
                view = view.apply(event)
                if isinstance(event, Assessed):
                    self.query_one(AlarmBanner).consider(event.assessment)
                    self._show_language(language_of_interface(event.assessment))
            await card.show(view)
            self._show_routing(view)
            self._show_speed(view)
            await asyncio.sleep(_FRAME)
        self._show_speed(view)

    def action_stop(self) -> None:
        if self.busy:
            self._consultation.cancel()
            self._set_state("stopping ...")

    def action_toggle_routing(self) -> None:
        panel = self.query_one(RoutingPanel)
        self.set_class(not self.has_class("-no-routing"), "-no-routing")
        panel.redraw()

    def action_help(self) -> None:
        from sparsedoctor.app.tui.help_screen import HelpScreen

        self.app.push_screen(HelpScreen(self._model))

    @work(group="new", exclusive=True)
    async def action_new(self) -> None:
        """Begin a new conversation; an answer being written is stopped first."""
        self.action_stop()
        await self._idle.wait()
        self._consultation = Consultation(self._engine.seat(), region=self._region, private=True)
        await self.query(TurnCard).remove()
        self.query_one("#welcome").display = True
        self.query_one(AlarmBanner).clear()
        self._show_routing(TurnView())
        self._set_state(wording(self._language).ready, speed="")
        self.query_one(Prompt).focus()

    def copy_answer(self) -> None:
        """Put the last answer on the clipboard, as far as the terminal allows it (OSC 52)."""
        cards = list(self.query(TurnCard))
        if not cards or not cards[-1].view.text:
            self.notify("There is no answer yet.")
            return
        self.app.copy_to_clipboard(cards[-1].view.text)
        self.notify("The last answer is on the clipboard, if your terminal allows it.")

    @on(Prompt.Scrolled)
    def _scroll(self, event: Prompt.Scrolled) -> None:
        conversation = self.query_one("#conversation", VerticalScroll)
        if event.pages < 0:
            conversation.scroll_page_up()
        else:
            conversation.scroll_page_down()

    @on(Markdown.LinkClicked)
    def _link(self, event: Markdown.LinkClicked) -> None:
        event.prevent_default()
        self.notify(
            f"{event.href}\nNothing is opened from here: a model can invent links.",
            title="A link the model wrote",
        )

    def _show_language(self, language: Language) -> None:
        self._language = language
        self.query_one("#emergency-line", Static).update(emergency_line(self._region, language))
        self.query_one(Prompt).placeholder = wording(language).placeholder

    def _show_routing(self, view: TurnView) -> None:
        if view.routing is not None or view.started is None:
            self.query_one(RoutingPanel).show(view.routing)
            line = strip(view.routing, self._names, self._why_not, max(20, self.size.width - 2))
            self.query_one("#routing-strip", Static).update(line)

    def _show_speed(self, view: TurnView) -> None:
        parts = []
        if view.finished is not None:
            parts.append(f"{view.finished.statistics.tokens_per_second:.0f} tokens/s")
        if view.seed is not None:
            parts.append(f"seed {view.seed}")
        self.query_one("#speed", Static).update(", ".join(parts))

    def _set_state(self, state: str, *, speed: str | None = None) -> None:
        self.query_one("#state", Static).update(state)
        if speed is not None:
            self.query_one("#speed", Static).update(speed)
