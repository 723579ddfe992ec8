"""The consultation on the screen: emergency line, conversation, experts, prompt, status."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Markdown, Static

from sparsedoctor.app.consultation.consultation import Assessed, ConsultationEvent
from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.numbers import emergency_line
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.interface_language import AUTO, interface_language
from sparsedoctor.app.messages import told
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.routing_view import expert_names, why_no_routing
from sparsedoctor.app.session import Session
from sparsedoctor.app.tui.alarm import AlarmBanner
from sparsedoctor.app.tui.background import call_in_background, in_background
from sparsedoctor.app.tui.prompt import Prompt
from sparsedoctor.app.tui.routing_panel import RoutingPanel, strip
from sparsedoctor.app.tui.texts import TerminalTexts, texts
from sparsedoctor.app.tui.turn import TurnCard
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import (
    Wording,
    facts_of,
    failed,
    language_of_interface,
    leaves_computer,
    model_label,
    where_words_go,
    wording,
)
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.errors import SparseDoctorError

Events = Iterator[ConsultationEvent]
_SMALL, _NARROW = 20, 64  # rows, columns: as the application's breakpoints
_FRAME = 1 / 30  # seconds between two drawings of a growing answer
_LEAVING = 2.0  # seconds that a stopped answer may take to end when the program is left


class ChatScreen(Screen[None]):
    """Shows one `Consultation` at a time. The model loads while the screen is already there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", show=False),  # the state says it while it matters
        Binding("f1", "help", "Help"),
        Binding("f2", "toggle_routing", "Experts"),
        Binding("f3", "intake", "You"),
        Binding("f4", "history", "History"),
        Binding("f5", "summary", "Summary"),
        Binding("ctrl+n", "new", "New"),
    ]

    def __init__(
        self,
        engine: EngineOnDemand,
        model: Model,
        sampling: Sampling,
        history: History,
        *,
        region: str,
        private: bool,
        language: str = AUTO,
    ) -> None:
        """`language`: one of `interface_language.CHOICES`."""
        super().__init__()
        self._engine, self._model, self._history = engine, model, history
        self._sampling = sampling
        self.session = Session(engine, model, history, region=region, private=private)
        self._choice = language
        self._language: Language = self.texts.code  # of what is said around answers
        self._names: tuple[str, ...] = ()
        self._idle = asyncio.Event()
        self._idle.set()

    def compose(self) -> ComposeResult:
        yield Static("", id="label", markup=False)
        yield Static("", id="emergency-line", markup=False)
        yield Static("", id="where", markup=False)
        yield AlarmBanner(id="alarm")
        with Horizontal(id="middle"):
            with VerticalScroll(id="conversation", can_focus=False), Vertical(id="turns"):
                yield Static("", id="welcome", markup=False)
            yield RoutingPanel(id="routing")
        yield Static("", id="routing-strip", markup=False)
        yield Prompt(id="prompt")
        with Horizontal(id="status"):
            yield Static("", id="state", markup=False)
            yield Static("", id="private", markup=False)
            yield Static("", id="speed", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#conversation", VerticalScroll).anchor()
        self.query_one(Prompt).focus()
        self._show_language(self._language)
        self._label()
        self._show_routing(TurnView())
        self._tell_notices()
        self._load()

    @property
    def texts(self) -> TerminalTexts:
        """Labels in the language that holds now."""
        return texts(interface_language(self._choice, self.session.intake))

    @property
    def _words(self) -> Wording:
        """What is said around answers, in the language of the labels."""
        return wording(self.texts.code)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """The keys, called what they are called in the language that holds now."""
        keys, narrow = self.texts.keys, self.size.width < _NARROW
        named = {}
        for key, found in super().active_bindings.items():
            said = keys.get(found.binding.action.rpartition(".")[2], found.binding.description)
            # On a narrow screen there are no experts to show; so the way out fits into the line.
            shown = found.binding.show and not (narrow and "routing" in found.binding.action)
            binding = replace(found.binding, description=said, show=shown)
            named[key] = found._replace(binding=binding)
        return named

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return not self._idle.is_set()

    @work(group="load", exit_on_error=False)
    async def _load(self) -> None:
        self._set_state(self._words.loading)
        try:
            await call_in_background(self._engine.load)
        except SparseDoctorError as error:
            self._set_state(self.texts.no_model)
            self.notify(self._told(error), severity="error", timeout=20)
            return
        self._label()
        if not self.busy:
            self._set_state(self._words.ready)

    @on(Prompt.Sent)
    def _sent(self, event: Prompt.Sent) -> None:
        if self.busy:
            self.notify(self.texts.busy, severity="warning")
            return
        self.query_one(Prompt).accepted(event.words)
        self._begin_turn(event.words, self.session.ask(event.words, self._sampling))

    def action_again(self) -> None:
        """Answer the last question anew."""
        if self.busy or not self.session.turns:
            self.notify(self.texts.nothing_to_repeat)
            return
        words = self.session.turns[-1].words
        self._begin_turn(words, self.session.ask_again(self._sampling))

    def _begin_turn(self, words: str, events: Events) -> None:
        """Accept a turn: from here on it can be stopped."""
        self._idle.clear()
        self._turn(words, events)

    @work(group="turn", exit_on_error=False)
    async def _turn(self, words: str, events: Events) -> None:
        self.query_one("#welcome").display = False
        card = TurnCard(words)
        await self.query_one("#turns").mount(card)
        self.query_one("#conversation", VerticalScroll).anchor()
        self._set_state(self._words.writing, speed="")
        state = ""
        try:
            await self._follow(card, events)
        except SparseDoctorError as error:
            card.fail(failed(error, self.texts.code))
            state = self.texts.last_failed
        finally:
            await card.settle()
            self._idle.set()
            self._set_state(state or self._calm())
            self._tell_notices()

    async def _follow(self, card: TurnCard, events: Events) -> None:
        """Draw the events of one turn as they come, at most thirty times a second."""
        view = TurnView()
        async for batch in in_background(lambda: events):
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
            self.session.cancel()
            self._set_state(self.texts.stopping)

    async def leave(self) -> None:
        """Stop what is written and let it end, so that it is saved as it was reviewed."""
        self.action_stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _LEAVING)

    def action_toggle_routing(self) -> None:
        panel = self.query_one(RoutingPanel)
        self.set_class(not self.has_class("-no-routing"), "-no-routing")
        panel.redraw()

    def action_help(self) -> None:
        from sparsedoctor.app.tui.help_screen import HelpScreen

        self.app.push_screen(HelpScreen(self._model, self.texts))

    @work(group="dialog", exclusive=True)
    async def action_intake(self) -> None:
        """Ask about the person; what they tell holds from the next question on."""
        from sparsedoctor.app.tui.intake_screen import IntakeScreen

        where = where_words_go(self._model, self.texts.code)
        dialog = IntakeScreen(self.session.intake, where, self.texts)
        intake = await self.app.push_screen_wait(dialog)
        if intake is not None:
            self.session.tell(intake)
            self._show_language(intake.language or self._language)
            self._label()

    @work(group="dialog", exclusive=True)
    async def action_history(self) -> None:
        """Show the saved conversations and take up the chosen one."""
        from sparsedoctor.app.tui.history_screen import ALL, HistoryScreen

        dialog = HistoryScreen(self._history, self.texts)
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None:
            await self._resume(chosen)
        elif not self.session.private and dialog.deleted & {ALL, self.session.conversation}:
            await self._begin(private=False)  # what is on the screen was deleted

    @work(group="dialog", exclusive=True)
    async def action_summary(self) -> None:
        """Show the summary for a doctor and write it where the person wants it."""
        from sparsedoctor.app.tui.summary_screen import SummaryScreen

        if self.session.conversation is None:
            self.notify(self.texts.nothing_said)
            return
        await self._idle.wait()
        await self.app.push_screen_wait(SummaryScreen(self.session, self.texts))

    @work(group="dialog", exclusive=True)
    async def action_new(self) -> None:
        """Begin a new conversation; an answer being written is stopped first."""
        await self._begin(private=self.session.private)

    @work(group="dialog", exclusive=True)
    async def action_private(self) -> None:
        """Begin a new conversation of the other kind: private or saved."""
        await self._begin(private=not self.session.private)

    async def _begin(self, *, private: bool) -> None:
        await self._emptied()
        self.session.begin(private=private)
        self._show_language(self.texts.code)
        self._label()
        self.query_one("#welcome").display = True

    async def _resume(self, conversation: str) -> None:
        await self._emptied()
        try:
            views = self.session.resume(conversation)
        except SparseDoctorError as error:
            self.notify(self._told(error), severity="error")
            self.query_one("#welcome").display = True
            return
        said = self.session.turns[-1].assessment if self.session.turns else None
        self._show_language(language_of_interface(said) if said else self.texts.code)
        self._label()
        self.query_one("#welcome").display = False
        for turn, view in zip(self.session.turns, views, strict=True):
            card = TurnCard(turn.words)
            await self.query_one("#turns").mount(card)
            await card.show(view)
            await card.settle()
        alarm = self.session.alarm()
        if alarm is not None:
            self.query_one(AlarmBanner).consider(alarm)
        self.query_one("#conversation", VerticalScroll).anchor()

    async def _emptied(self) -> None:
        """Stop what runs and take the conversation off the screen."""
        self.action_stop()
        await self._idle.wait()
        await self.query(TurnCard).remove()
        self.query_one(AlarmBanner).clear()
        self._show_routing(TurnView())
        self._set_state(self._calm(), speed="")
        self.query_one(Prompt).focus()

    def copy_answer(self) -> None:
        """Put the last answer on the clipboard, as far as the terminal allows it (OSC 52)."""
        cards = list(self.query(TurnCard))
        if not cards or not cards[-1].view.text:
            self.notify(self.texts.nothing_to_copy)
            return
        self.app.copy_to_clipboard(cards[-1].view.text)
        self.notify(self.texts.copied)

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
        words = self.texts
        self.notify(words.link.format(event.href), title=words.link_title, markup=False)

    def _show_language(self, language: Language) -> None:
        self._language = language
        line = emergency_line(self.session.region, language)
        self.query_one("#emergency-line", Static).update(line)
        where = where_words_go(self._model, language)
        self.query_one("#welcome", Static).update(f"{wording(language).welcome}\n\n{where}")
        self._show_where()

    def on_resize(self) -> None:
        self._show_where()
        self.query_one(Footer).compact = self.size.width < _NARROW
        self.refresh_bindings()

    def _show_where(self) -> None:
        """With a server it stays on the screen where the words go."""
        line = self.query_one("#where", Static)
        line.display = isinstance(self._model, ModelServer)
        line.set_class(leaves_computer(self._model), "-away")
        short = self.size.height < _SMALL or self.size.width < _NARROW
        line.update(where_words_go(self._model, self._language, short=short))

    def _label(self) -> None:
        """Put labels and the names of keys into the language that holds now."""
        words, info = self.texts, self._engine.info
        bundle = (info.bundle if info else None) or self._model.bundle
        experts = info.experts if info else self._model.experts
        self._names = expert_names(bundle, experts, words.code)
        self.query_one("#label", Static).update(words.label.format(self._model_label()))
        self.query_one(Prompt).said_when_cut = words.cut
        self.query_one(Prompt).placeholder = self._words.placeholder
        self.query_one(RoutingPanel).explain(self._names, self._why_not(), words)
        if not self.busy:
            self._show_routing(self._latest())
            if self._engine.info:
                self._set_state(self._words.ready)
        self._show_private()
        self.refresh_bindings()

    def _model_label(self) -> str:
        return model_label(self._model, self.texts.code, self._engine.info)

    def _told(self, error: SparseDoctorError) -> str:
        return told(error, self.texts.code)

    def _latest(self) -> TurnView:
        cards = self.query(TurnCard)
        return cards.last().view if cards else TurnView()

    def _why_not(self) -> str:
        return why_no_routing(self._engine.info or self._model.known(), self.texts.code)

    def _show_routing(self, view: TurnView) -> None:
        if view.routing is not None or view.started is None:
            self.query_one(RoutingPanel).show(view.routing)
            instead = self._why_not() or self.texts.strip_waiting
            line = strip(view.routing, self._names, instead, max(20, self.size.width - 2))
            self.query_one("#routing-strip", Static).update(line)

    def _show_speed(self, view: TurnView) -> None:
        facts = facts_of(view, self.texts.code)[-2:]  # the card says all
        self.query_one("#speed", Static).update(self._words.comma.join(facts))

    def _calm(self) -> str:
        """The state while nothing is written; an emergency is answered without the model."""
        words = self._words
        return words.ready if self._engine.info else words.loading

    def _set_state(self, state: str, *, speed: str | None = None) -> None:
        self.query_one("#state", Static).update(state)
        if speed is not None:
            self.query_one("#speed", Static).update(speed)

    def _show_private(self) -> None:
        private = self.session.private
        unsaved = self.texts.is_private if private else self.texts.not_saved
        saved = private or self._history.saved
        self.query_one("#private", Static).update("" if saved and not private else unsaved)

    def _tell_notices(self) -> None:
        """Say what happened to the history: a full disk, a damaged file that was kept aside."""
        for notice in self._history.take_notices():
            self.notify(notice.text(self._language), severity="warning", timeout=20)
        self._show_private()
