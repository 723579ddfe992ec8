"""One browser tab: its session and everything it shows. Knows nothing of gradio.

    ask ─▶ a thread follows the turn ─▶ turns change ─▶ pictures() yields, for whoever watches

The turn does not depend on its watcher: a page that is reloaded watches the same turn again.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import Assessed, ConsultationEvent
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.session import Session
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.web.texts import texts
from sparsedoctor.app.wording import is_alarm, language_of_interface
from sparsedoctor.core.engine.protocol import Sampling
from sparsedoctor.core.errors import SparseDoctorError

FRAME = 0.06  # seconds between two pictures of a growing answer
_SILENCE = 1.0  # seconds without news after which a picture is drawn all the same
_ENDING = 5.0  # seconds that a stopped answer may take to end

Events = Generator[ConsultationEvent, None, None]
Asking = Callable[[str, Sampling], Events]


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """One question and what is known of its answer; `error` when the engine failed."""

    words: str
    view: TurnView
    error: str = ""


class Visit:
    """What one tab sees. Any thread may call it.

    `language` is that of the person's last words. `interface` is that of labels and buttons: the
    one the program was started with, else the intake's, else the browser's.
    """

    def __init__(
        self,
        session: Session,
        sampling: Sampling,
        *,
        browsers: Language = "en",
        started_with: Language | None = None,
    ) -> None:
        self.session = session
        self._sampling = sampling
        self._browsers, self._started_with = browsers, started_with
        self.turns: list[ShownTurn] = []
        self.alarm: Assessment | None = None
        self.language = self.interface
        self.labelled: Language | None = None  # the language in which the labels were drawn
        self.notices: list[str] = []  # what happened to the history
        self.to_delete = ""  # the conversation of which to say so once more
        self._news = threading.Condition()
        self._version = 0  # of everything shown
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether an answer is being written."""
        return self._busy

    @property
    def interface(self) -> Language:
        return self._started_with or self.session.intake.language or self._browsers

    @property
    def latest(self) -> TurnView:
        return self.turns[-1].view if self.turns else TurnView()

    def ask(self, words: str) -> None:
        """Begin a turn; nothing happens while another runs, or without words."""
        words = words.strip()
        if words:
            self._begin_turn(words, self.session.ask)

    def ask_again(self) -> None:
        """Begin to answer the last question anew."""
        if self.session.turns:
            words = self.session.turns[-1].words
            self._begin_turn(words, lambda _, sampling: self.session.ask_again(sampling))

    def pictures(self) -> Iterator[None]:
        """Yields whenever there is something new to draw; the last time when the turn has ended.

        To leave it changes nothing about the turn.
        """
        while True:
            with self._news:
                seen, busy = self._version, self._busy
            yield
            if not busy:
                return
            time.sleep(FRAME)
            self._await(lambda seen=seen: self._version != seen, _SILENCE)  # type: ignore[misc]

    def stop(self) -> None:
        """End the running answer; what is written stays."""
        if self._busy:
            self.session.cancel()

    def begin(self, *, private: bool) -> None:
        """A new conversation. An answer being written is stopped."""
        self.settle()
        self.session.begin(private=private)
        self.language = self.interface
        self._replace([], None)

    def resume(self, conversation: str) -> None:
        """Take up a saved conversation. Raises SparseDoctorError when it is gone."""
        self.settle()
        views = self.session.resume(conversation)
        turns = zip(self.session.turns, views, strict=True)
        self._replace([ShownTurn(turn.words, view) for turn, view in turns], self.session.alarm())
        if self.turns:
            self.language = language_of_interface(self.latest.assessment)

    def tell(self, intake: Intake) -> None:
        """What the person told about themselves."""
        if intake != self.session.intake:
            self.session.tell(intake)
        self.language = intake.language or self.language

    def settle(self) -> None:
        """Stop the running answer and wait for its end."""
        self.stop()
        self._await(lambda: not self._busy, _ENDING)

    def leave(self) -> None:
        """The tab was closed."""
        self.settle()
        self.session.close()

    def _begin_turn(self, words: str, ask: Asking) -> None:
        """Accept a turn: from here on it can be stopped."""
        with self._news:
            if self._busy:
                return
            self._busy = True
            mine = self.turns  # a new conversation replaces the list while this turn still ends
            mine.append(ShownTurn(words, TurnView()))
            events = ask(words, self._sampling)
        follow = threading.Thread(
            target=self._follow, args=(mine, events), name="turn", daemon=True
        )
        follow.start()

    def _follow(self, mine: list[ShownTurn], turn: Events) -> None:
        error = ""
        try:
            with closing(turn) as events:
                for event in events:
                    self._draw(mine, event)
        except SparseDoctorError as failure:
            error = str(failure)  # in English; `markup` says it in the language of the page
        except Exception as failure:  # a fault of ours must not leave the page busy for ever
            traceback.print_exc()
            error = texts(self.interface).broke.format(type(failure).__name__)
        finally:
            with self._news:
                mine[-1] = replace(mine[-1], error=error)
                self._busy = False
                self._tell_news()

    def _draw(self, mine: list[ShownTurn], event: ConsultationEvent) -> None:
        with self._news:
            mine[-1] = replace(mine[-1], view=mine[-1].view.apply(event))
            if isinstance(event, Assessed) and mine is self.turns:
                self.language = language_of_interface(event.assessment)
                if is_alarm(event.assessment):
                    self.alarm = event.assessment
            self._tell_news()

    def _replace(self, turns: list[ShownTurn], alarm: Assessment | None) -> None:
        with self._news:
            self.turns, self.alarm, self.notices = turns, alarm, []
            self._tell_news()

    def _tell_news(self) -> None:
        self._version += 1
        self._news.notify_all()

    def _await(self, condition: Callable[[], bool], seconds: float) -> None:
        with self._news:
            self._news.wait_for(condition, seconds)
