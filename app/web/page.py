"""The page: gradio's components and what happens in them. Imported only to be served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from importlib.resources import files
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.numbers import emergency_line
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.routing_view import (
    expert_names,
    expert_shares,
    layer_rows,
    why_no_routing,
)
from sparsedoctor.app.session import Session
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.web import markup
from sparsedoctor.app.web.hardening import HOST, HOST_NAMES, OwnOriginOnly, PrivateHeaders
from sparsedoctor.app.web.panels import PRIVATE, HistoryPanel, IntakePanel, SummaryPanel
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.wording import where_words_go, wording
from sparsedoctor.core.engine.protocol import EngineError, Sampling

_LONGEST = 20_000  # characters of one question
_MAP_ROWS = 32  # of the map of layers by experts
_TABS = 64  # remembered at once; the oldest unused one is forgotten


class Page:
    """One server: the engine, and a `Visit` for each browser tab."""

    def __init__(
        self,
        engine: EngineOnDemand,
        model: Model,
        sampling: Sampling,
        history: History,
        *,
        region: str,
        private: bool = False,
    ) -> None:
        self._engine, self._model, self._history = engine, model, history
        self._sampling, self._region, self._private = sampling, region, private
        self._visits: dict[str, Visit] = {}
        self._load_error = ""
        self._blocks = self._build()

    def launch(self, port: int) -> None:
        """Serve on 127.0.0.1; returns once the server answers."""
        self._blocks.queue(max_size=_TABS, default_concurrency_limit=8)
        self._blocks.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            max_file_size=1,
            state_session_capacity=_TABS,
            theme=_theme(),
            css=files("sparsedoctor.app.web").joinpath("page.css").read_text("utf-8"),
            head=_HEAD,
            app_kwargs={
                "docs_url": None,
                "redoc_url": None,
                "openapi_url": None,
                "middleware": [
                    Middleware(PrivateHeaders),
                    Middleware(TrustedHostMiddleware, allowed_hosts=list(HOST_NAMES)),
                    Middleware(OwnOriginOnly, port=port),
                ],
            },
        )

    def load_model(self) -> None:
        """Begin to load the model; the page is there already."""

        def load() -> None:
            try:
                self._engine.load()
            except EngineError as error:
                self._load_error = str(error)

        threading.Thread(target=load, name="load", daemon=True).start()

    def close(self) -> None:
        for visit in self._visits.values():
            visit.leave()
        with suppress(Exception):  # gradio complains when the server is already gone
            self._blocks.close(verbose=False)

    def _build(self) -> gr.Blocks:
        label = self._model.label
        with gr.Blocks(
            title="SparseDoctor", analytics_enabled=False, delete_cache=(3600, 3600)
        ) as blocks:
            gr.HTML(
                f'<header><h1>SparseDoctor</h1><p id="label">{escape(label)}</p></header>',
                js_on_load=None,
            )
            if isinstance(self._model, ModelServer):
                where = escape(where_words_go(self._model, "en"))
                gr.HTML(f'<p id="where">{where}</p>', js_on_load=None)
            line = gr.HTML(_emergency_html(self._region, "en"), js_on_load=None)
            alarm = gr.HTML("", elem_id="alarm", js_on_load=None)
            with gr.Row(elem_id="middle"):
                with gr.Column(scale=3, min_width=320):
                    chat = gr.Chatbot(
                        elem_id="chat",
                        show_label=False,
                        height="58vh",
                        buttons=["copy", "copy_all"],
                        placeholder=f"{wording('en').welcome} {where_words_go(self._model, 'en')}",
                        latex_delimiters=[],
                        allow_tags=False,
                        feedback_options=None,
                        layout="panel",
                    )
                    with gr.Row(elem_id="asking"):
                        words = gr.Textbox(
                            elem_id="words",
                            show_label=False,
                            label="Your question",
                            placeholder="What troubles you? Enter sends, Shift+Enter begins a line",
                            lines=1,
                            max_lines=8,
                            max_length=_LONGEST,
                            autofocus=True,
                            container=False,
                            scale=8,
                        )
                        send = gr.Button("Send", variant="primary", elem_id="send", min_width=80)
                        stop = gr.Button("Stop", elem_id="stop", min_width=80, interactive=False)
                        again = gr.Button("Again", elem_id="again", min_width=80)
                        new = gr.Button("New", elem_id="new", min_width=80)
                    status = gr.HTML(self._status_of(None), elem_id="status", js_on_load=None)
                with gr.Column(scale=1, min_width=260):
                    experts = gr.HTML(
                        self._routing_of(TurnView()), elem_id="experts", js_on_load=None
                    )
                    intake = IntakePanel()
                    saved = HistoryPanel(self._history)
                    summary = SummaryPanel()
                    private = gr.Checkbox(
                        label="private: nothing of a new conversation is saved",
                        value=self._private,
                        elem_id="private",
                    )
            drawn = [chat, line, alarm, experts, status, send, stop]
            shown = [*drawn, *intake.fields, private]
            for trigger in (words.submit, send.click):
                trigger(
                    self._ask,
                    inputs=[words],
                    outputs=[words, *drawn],
                    concurrency_limit=8,
                    **PRIVATE,
                ).then(saved.listed, outputs=[saved.component], queue=False, **PRIVATE)
            again.click(self._again, outputs=drawn, concurrency_limit=8, **PRIVATE)
            stop.click(self._stop, queue=False, **PRIVATE)
            new.click(self._new, inputs=[private], outputs=[words, *drawn], queue=False, **PRIVATE)
            private.input(
                self._new, inputs=[private], outputs=[words, *drawn], queue=False, **PRIVATE
            )
            intake.connect(self._visit, self._drawn, drawn)
            saved.connect(self._visit, self._all, shown)
            summary.connect(self._visit)
            # The model loads while the page is there already; this stops once it is known.
            loading = gr.Timer(0.5)
            loading.tick(self._loading, outputs=[status, experts, loading], **PRIVATE)
            blocks.load(self._shown, outputs=shown, queue=False, **PRIVATE)
            blocks.load(saved.listed, outputs=[saved.component], queue=False, **PRIVATE)
            blocks.unload(self._leave)
        return blocks

    def _ask(self, words: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        visit = self._visit(request)
        if visit.busy:
            yield (words, *self._drawn(visit))
            return
        for _ in visit.ask(words[:_LONGEST]):
            yield ("", *self._drawn(visit))

    def _stop(self, request: gr.Request) -> None:
        self._visit(request).stop()

    def _again(self, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        visit = self._visit(request)
        for _ in visit.ask_again():
            yield self._drawn(visit)

    def _new(self, private: bool, request: gr.Request) -> tuple[Any, ...]:
        visit = self._visit(request)
        visit.begin(private=private)
        return ("", *self._drawn(visit))

    def _shown(self, request: gr.Request) -> tuple[Any, ...]:
        return self._all(self._visit(request))

    def _all(self, visit: Visit) -> tuple[Any, ...]:
        """Everything of the page: also the form, which a saved conversation brings along."""
        return (*self._drawn(visit), *IntakePanel.values(visit), visit.session.private)

    def _loading(self, request: gr.Request) -> tuple[Any, ...]:
        visit = self._visit(request)
        known = self._engine.info is not None or bool(self._load_error)
        return (
            self._status_of(visit),
            self._routing_of(visit.latest),
            gr.Timer(active=not known),
        )

    def _leave(self, request: gr.Request) -> None:
        visit = self._visits.pop(request.session_hash or "", None)
        if visit is not None:
            visit.leave()

    def _visit(self, request: gr.Request) -> Visit:
        key = request.session_hash or ""
        if key not in self._visits:
            while len(self._visits) >= _TABS:
                self._visits.pop(next(iter(self._visits))).leave()
            session = Session(
                self._engine,
                self._model,
                self._history,
                region=self._region,
                private=self._private,
            )
            self._visits[key] = Visit(session, self._sampling)
        return self._visits[key]

    def _drawn(self, visit: Visit) -> tuple[Any, ...]:
        return (
            markup.messages(visit.turns),
            _emergency_html(visit.session.region, visit.language),
            markup.alarm(visit.alarm),
            self._routing_of(visit.latest),
            self._status_of(visit),
            gr.Button(interactive=not visit.busy),
            gr.Button(interactive=visit.busy),
        )

    def _routing_of(self, view: TurnView) -> str:
        info = self._engine.info
        reason = why_no_routing(info or self._model.known())
        if reason or view.routing is None:
            return markup.no_routing(reason or "appears while an answer is written")
        names = expert_names(self._model.bundle, len(view.routing.weight[0]))
        done = "question" if view.routing.phase == "prompt" else "answer"
        return markup.routing(
            expert_shares(view.routing, names),
            layer_rows(view.routing, _MAP_ROWS),
            f"{view.routing.tokens} tokens of the {done}",
        )

    def _status_of(self, visit: Visit | None) -> str:
        words = wording(visit.language if visit else "en")
        if self._load_error:
            state = self._load_error
        elif visit is not None and visit.busy:
            state = words.writing
        else:
            state = words.ready if self._engine.info else words.loading
        facts = [state]
        if visit is not None and visit.session.private:
            facts.append("private: nothing is saved")
        elif not self._history.saved:
            facts.append("not saved: the history cannot be written")
        view = visit.latest if visit else TurnView()
        if view.finished is not None:
            facts.append(f"{view.finished.statistics.tokens_per_second:.0f} tokens/s")
        if view.seed is not None:
            facts.append(f"seed {view.seed}")
        return "".join(f"<span>{escape(fact)}</span>" for fact in facts)


# Esc stops an answer, as in the terminal.
_HEAD = """
<meta name="robots" content="noindex">
<script>
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const stop = document.querySelector("#stop");
  if (stop && !stop.disabled) stop.click();
});
</script>
"""


def _emergency_html(region: str, language: Language) -> str:
    return f'<p id="emergency-line">{escape(emergency_line(region, language))}</p>'


def _theme() -> gr.themes.Base:
    """Calm colours and the system's own fonts: a theme by name would be fetched."""
    system = ["system-ui", "sans-serif"]
    return gr.themes.Soft(
        primary_hue="teal",
        secondary_hue="cyan",
        neutral_hue="slate",
        font=system,
        font_mono=["ui-monospace", "monospace"],
    )
