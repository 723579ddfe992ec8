"""What the page shows of a visit, as HTML. Knows the engine's state, nothing of gradio."""

from __future__ import annotations

from html import escape

from sparsedoctor.app.consultation.history import History
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.consultation.numbers import emergency_line
from sparsedoctor.app.engine_on_demand import EngineOnDemand
from sparsedoctor.app.messages import told
from sparsedoctor.app.model_choice import Model
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.routing_view import (
    expert_names,
    expert_shares,
    layer_rows,
    why_no_routing,
)
from sparsedoctor.app.web import markup
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.web.visit import Visit
from sparsedoctor.app.wording import leaves_computer, model_label, where_words_go, wording

_MAP_ROWS = 32  # of the map of layers by experts


class Drawing:
    """`load_error`: why there is no model, once that is known."""

    def __init__(self, engine: EngineOnDemand, model: Model, history: History) -> None:
        self._engine, self._model, self._history = engine, model, history
        self.load_error = ""

    @property
    def settled(self) -> bool:
        """Whether the model is loaded, or known not to be."""
        return self._engine.info is not None or bool(self.load_error)

    def header(self, language: Language) -> str:
        label = model_label(self._model, language, self._engine.info)
        return f'<header><h1>SparseDoctor</h1><p id="label">{escape(label)}</p></header>'

    def line(self, region: str, language: Language) -> str:
        """Whom to call in an emergency and, with a server, where the words go."""
        line = emergency_line(region, language)
        shown = f'<p id="emergency-line">{escape(line)}</p>'
        if isinstance(self._model, ModelServer):
            kind = "away" if leaves_computer(self._model) else "here"
            where = where_words_go(self._model, language)
            shown += f'<p id="where" class="{kind}">{escape(where)}</p>'
        return shown

    def routing(self, visit: Visit) -> str:
        said, seen = texts(visit.interface), visit.latest.routing
        reason = why_no_routing(self._engine.info or self._model.known(), visit.interface)
        if reason or seen is None:
            return markup.no_routing(reason or said.appears, said)
        names = expert_names(self._model.bundle, len(seen.weight[0]), visit.interface)
        caption = said.of_question if seen.phase == "prompt" else said.of_answer
        return markup.routing(
            expert_shares(seen, names),
            layer_rows(seen, _MAP_ROWS),
            caption.format(seen.tokens),
            said,
        )

    def status(self, visit: Visit) -> str:
        """One line of facts, and below it what happened to the history."""
        words, said, view = wording(visit.interface), texts(visit.interface), visit.latest
        state = words.ready if self._engine.info else words.loading
        failed = told(self.load_error, visit.interface) if self.load_error else ""
        facts = [words.writing if visit.busy else failed or state]
        if visit.session.private:
            facts.append(said.is_private)
        elif not self._history.saved:
            facts.append(said.not_saved)
        if view.finished is not None and view.finished.statistics.answer_tokens:
            facts.append(words.speed.format(view.finished.statistics.tokens_per_second))
        if view.seed is not None:
            facts.append(words.seed.format(view.seed))
        line = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
        state = "writing" if visit.busy else "idle"
        return f'<p data-state="{state}" data-turns="{len(visit.turns)}">{line}</p>' + "".join(
            f'<p class="notice">{escape(notice)}</p>' for notice in self._notices(visit)
        )

    def _notices(self, visit: Visit) -> list[str]:
        if not visit.busy:
            visit.notices += [one.text(visit.interface) for one in self._history.take_notices()]
        return visit.notices
