"""The visit of every open tab. A tab that is reloaded comes back to its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sparsedoctor.app.web.visit import Visit

MOST = 64  # remembered at once
PATIENCE = 30.0  # seconds in which a tab that went may come back


class Visits:
    """Visits by the session of a loaded page; a reload gives the same tab another session.

    Any thread may call it.
    """

    def __init__(self, *, most: int = MOST, patience: float = PATIENCE) -> None:
        self._most, self._patience = most, patience
        self._visits: dict[str, Visit] = {}  # by session, the last entered at the end
        self._sessions: dict[str, str] = {}  # by tab, as it was entered last
        self._leaving: dict[str, threading.Timer] = {}
        self._guard = threading.RLock()

    def of(self, session: str, make: Callable[[], Visit]) -> Visit:
        """The visit of `session`; made when there is none."""
        with self._guard:
            visit = self._visits.get(session)
            if visit is None:
                visit = self._visits[session] = make()
            gone = self._too_many()
        for one in gone:
            one.leave()
        return visit

    def enter(self, session: str, tab: str) -> None:
        """The page was loaded in `tab`: if it was open there before, its visit goes on."""
        with self._guard:
            before = self._sessions.get(tab, "")
            if before in self._visits and session not in self._visits:
                self._visits[session] = self._visits.pop(before)
                self._stay(before)
            if tab:
                self._sessions[tab] = session

    def went(self, session: str) -> None:
        """The page of `session` is no longer shown; its visit ends if nobody comes back."""
        with self._guard:
            if session in self._visits and session not in self._leaving:
                timer = threading.Timer(self._patience, self._end, (session,))
                timer.daemon = True
                self._leaving[session] = timer
                timer.start()

    def close(self) -> None:
        """End every visit."""
        with self._guard:
            sessions = list(self._visits)
        for session in sessions:
            self._end(session)

    def _end(self, session: str) -> None:
        with self._guard:
            self._stay(session)
            visit = self._visits.pop(session, None)
            self._sessions = {tab: one for tab, one in self._sessions.items() if one != session}
        if visit is not None:
            visit.leave()

    def _stay(self, session: str) -> None:
        timer = self._leaving.pop(session, None)
        if timer is not None:
            timer.cancel()

    def _too_many(self) -> list[Visit]:
        """Take out those above the limit: first who went, then the oldest."""
        gone = []
        while len(self._visits) > self._most:
            session = next(iter(self._leaving), next(iter(self._visits)))
            self._stay(session)
            gone.append(self._visits.pop(session))
        return gone
