"""The page: gradio's components and what happens in them. Imported only to be served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import gradio as gr

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.session import Session
from sparsedoctor.app.web import markup
from sparsedoctor.app.web.drawing import Drawing
from sparsedoctor.app.web.history_panel import HistoryPanel
from sparsedoctor.app.web.intake_panel import IntakePanel
from sparsedoctor.app.web.labels import Labels
from sparsedoctor.app.web.launching import COPY, TAB, blocks_options, launch_options
from sparsedoctor.app.web.summary_panel import EMPTY, SummaryPanel
from sparsedoctor.app.web.texts import PageTexts, preferred_language
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.web.visits import MOST, Visits
from sparsedoctor.app.web.wiring import PRIVATE
from sparsedoctor.app.wording import where_words_go, wording
from sparsedoctor.core.engine.protocol import EngineError, Sampling

_LONGEST = 20_000  # characters of one question


class Page:
    """One server: the engine, and a `Visit` for each browser tab.

    `language`: of the labels in every tab; without it the intake's or the browser's own.
    """

    def __init__(
        self,
        engine: EngineOnDemand,
        model: Model,
        sampling: Sampling,
        history: History,
        *,
        region: str,
        private: bool = False,
        language: Language | None = None,
    ) -> None:
        self._engine, self._model, self._history = engine, model, history
        self._sampling, self._region, self._private = sampling, region, private
        self._language = language
        self._visits = Visits()
        self._drawing = Drawing(engine, model, history)
        self._labels = Labels(language or "en")
        self._blocks = self._build()

    def launch(self, port: int) -> None:
        """Serve on 127.0.0.1; returns once the server answers."""
        self._blocks.queue(max_size=MOST, default_concurrency_limit=MOST)
        self._blocks.launch(**launch_options(port, MOST))

    def load_model(self) -> None:
        """Begin to load the model; the page is there already."""

        def load() -> None:
            try:
                self._engine.load()
            except EngineError as error:
                self._drawing.load_error = str(error)

        threading.Thread(target=load, name="load", daemon=True).start()

    def close(self) -> None:
        self._visits.close()
        with suppress(Exception):  # gradio complains when the server is already gone
            self._blocks.close(verbose=False)

    # --- what stands where ---

    def _build(self) -> gr.Blocks:
        with gr.Blocks(**blocks_options()) as blocks:
            first: Language = self._language or "en"
            self._header = gr.HTML(self._drawing.header(first), js_on_load=None)
            with gr.Column(elem_id="top"):
                self._line = gr.HTML(self._drawing.line(self._region, first), js_on_load=None)
                self._alarm = gr.HTML("", elem_id="alarm", js_on_load=None)
            with gr.Row(elem_id="middle"):
                with gr.Column(scale=3, min_width=320, elem_id="conversation"):
                    self._build_conversation()
                with gr.Column(scale=1, min_width=280, elem_id="side"):
                    self._intake = IntakePanel(self._labels)
                    self._saved = HistoryPanel(self._history, self._labels)
                    self._summary = SummaryPanel(self._labels)
                    with self._labels.make(
                        gr.Accordion, lambda t: {"label": t.help}, open=False, elem_id="help"
                    ):
                        self._labels.make(gr.Markdown, self._help)
                    self._experts = gr.HTML("", elem_id="experts", js_on_load=None)
            self._connect(blocks)
        return blocks

    def _build_conversation(self) -> None:
        make = self._labels.make
        self._chat = make(
            gr.Chatbot,
            lambda t: {"placeholder": self._welcome(t)},
            elem_id="chat",
            show_label=False,
            buttons=[],
            latex_delimiters=[],
            allow_tags=False,
            feedback_options=None,
            layout="panel",
        )
        with gr.Row(elem_id="asking"):
            self._words = make(
                gr.Textbox,
                lambda t: {"label": t.question, "placeholder": t.question_hint},
                elem_id="words",
                show_label=False,
                lines=1,
                max_lines=8,
                max_length=_LONGEST,
                autofocus=True,
                container=False,
                scale=8,
            )
            self._send = make(
                gr.Button,
                lambda t: {"value": t.send},
                variant="primary",
                elem_id="send",
                min_width=80,
            )
            self._stop = make(
                gr.Button,
                lambda t: {"value": t.stop},
                elem_id="stop",
                min_width=80,
                interactive=False,
            )
        with gr.Row(elem_id="tools"):
            self._new, self._again, self._copy = (
                make(gr.Button, words, elem_id=name, size="sm", min_width=60, scale=0)
                for name, words in (
                    ("new", lambda t: {"value": t.new}),
                    ("again", lambda t: {"value": t.again}),
                    ("copy", lambda t: {"value": t.copy}),
                )
            )
            self._is_private = make(
                gr.Checkbox,
                lambda t: {"label": t.private},
                value=self._private,
                elem_id="private",
                container=False,
            )
        self._status = gr.HTML("", elem_id="status", js_on_load=None)

    def _welcome(self, said: PageTexts) -> str:
        return f"{wording(said.code).welcome} {where_words_go(self._model, said.code)}"

    def _help(self, said: PageTexts) -> dict[str, str]:
        return {"value": f"{said.help_text}\n{where_words_go(self._model, said.code)}"}

    # --- what happens ---

    def _connect(self, blocks: gr.Blocks) -> None:
        drawn = [
            self._header, self._chat, self._line, self._alarm, self._experts, self._status,
            self._send, self._stop, self._again, self._copy, *self._labels.components,
        ]  # fmt: skip
        everything = [
            *drawn, *self._intake.fields, self._is_private, self._intake.note, *self._summary.shown,
        ]  # fmt: skip
        at_once: dict[str, Any] = {"queue": False, **PRIVATE}
        listing = {"inputs": self._saved.asked, "outputs": [self._saved.component]}
        for asked in (self._words.submit, self._send.click):
            asked(
                self._ask,
                inputs=[self._words, self._is_private, *self._intake.fields],
                outputs=[self._words, self._intake.note, *drawn],
                **PRIVATE,
            ).then(self._saved.listed, **listing, **at_once)
        self._again.click(self._answer_again, outputs=drawn, **PRIVATE)
        self._stop.click(self._stopped, **at_once)
        for begun in (self._new.click, self._is_private.input):
            begun(self._begin, inputs=[self._is_private], outputs=everything, **at_once)
        text = gr.Textbox(visible=False)
        self._copy.click(self._last_answer, outputs=[text], **at_once).then(
            None, inputs=[text], js=COPY, **at_once
        )
        self._intake.connect(self._visit, self._drawn, drawn)
        self._saved.connect(self._visit, self._everything, everything)
        self._summary.connect(self._visit)
        # The model loads while the page is there already; this stops once it is known.
        loading = gr.Timer(0.5, active=False)
        loading.tick(
            self._loading,
            outputs=[self._header, self._status, self._experts, loading],
            **PRIVATE,
        )
        tab = gr.Textbox(visible=False)
        blocks.load(
            self._enter,
            inputs=[tab],
            outputs=[loading, *everything],
            js=TAB,
            **at_once,
        ).then(self._watch, outputs=drawn, **PRIVATE)
        blocks.load(self._saved.listed, **listing, **at_once)
        blocks.unload(self._leave)

    def _ask(
        self, request: gr.Request, words: str, private: bool, *form: Any
    ) -> Iterator[tuple[Any, ...]]:
        visit = self._visit(request, private)
        if visit.busy:
            yield (gr.skip(), gr.skip(), *self._drawn(visit))
            return
        note = self._intake.take(visit, form)
        visit.ask(words[:_LONGEST])
        cleared: Any = ""
        for _ in visit.pictures():
            yield (cleared, note, *self._drawn(visit))
            cleared = gr.skip()  # what is typed meanwhile stays

    def _answer_again(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        visit = self._visit(request)
        visit.ask_again()
        yield from self._watch(request)

    def _watch(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        visit = self._visit(request)
        for _ in visit.pictures():
            yield self._drawn(visit)

    def _stopped(self, request: gr.Request) -> None:
        self._visit(request).stop()

    def _last_answer(self, request: gr.Request) -> str:
        return self._visit(request).latest.text

    def _begin(self, private: bool, request: gr.Request) -> tuple[Any, ...]:
        visit = self._visit(request)
        visit.begin(private=private)
        return self._everything(visit)

    def _enter(self, tab: str, request: gr.Request) -> tuple[Any, ...]:
        self._visits.enter(request.session_hash or "", tab or "")
        visit = self._visit(request)
        visit.labelled = None  # a page that was just loaded is in its first language
        return (self._looking(), *self._everything(visit))

    def _loading(self, request: gr.Request) -> tuple[Any, ...]:
        visit = self._visit(request)
        return (
            self._drawing.header(visit.interface),
            self._drawing.status(visit),
            self._drawing.routing(visit),
            self._looking(),
        )

    def _looking(self) -> Any:
        return gr.Timer(active=not self._drawing.settled)

    def _leave(self, request: gr.Request) -> None:
        self._visits.went(request.session_hash or "")

    def _visit(self, request: gr.Request, private: bool | None = None) -> Visit:
        """The tab's visit. `private`: what the page shows, should the visit be forgotten here."""

        def make() -> Visit:
            session = Session(
                self._engine,
                self._model,
                self._history,
                region=self._region,
                private=self._private if private is None else private,
            )
            accepted = request.headers.get("accept-language", "")
            return Visit(
                session,
                self._sampling,
                browsers=preferred_language(accepted),
                started_with=self._language,
            )

        return self._visits.of(request.session_hash or "", make)

    def _drawn(self, visit: Visit) -> tuple[Any, ...]:
        """What changes with a turn."""
        finished = bool(visit.turns) and not visit.busy
        return (
            self._drawing.header(visit.interface),
            markup.messages(visit.turns),
            self._drawing.line(visit.session.region, visit.language),
            markup.alarm(visit.alarm),
            self._drawing.routing(visit),
            self._drawing.status(visit),
            gr.update(interactive=not visit.busy),
            gr.update(interactive=visit.busy),
            gr.update(interactive=finished),
            gr.update(interactive=finished and bool(visit.latest.text)),
            *self._labelled(visit),
        )

    def _everything(self, visit: Visit) -> tuple[Any, ...]:
        """All of the page: also the form, which a saved conversation brings along."""
        return (
            *self._drawn(visit), *self._intake.values(visit), visit.session.private, "", *EMPTY,
        )  # fmt: skip

    def _labelled(self, visit: Visit) -> list[Any]:
        if visit.labelled == visit.interface:
            return self._labels.unchanged()
        visit.labelled = visit.interface
        return self._labels.written(visit.interface)
