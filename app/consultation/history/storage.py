"""Where the tables are: in the file, or, once that fails, in memory.

    file ──a write fails──▶ memory with everything that can still be read ──retry──▶ file

Whatever is written in memory is copied to the file when it can be written again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from sparsedoctor.app.consultation.history import copying, database, disk_file, schema
from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.app.consultation.history.opening import Unusable, open_file, read_into
from sparsedoctor.core.errors import SparseDoctorError

RETRY_SECONDS = 30.0
T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Clock = Callable[[], str]  # now, UTC, ISO 8601


class Storage:
    """One connection for all threads of this process, one piece of work at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        *,
        path: Path | None = None,
        passphrase: str | None = None,
        lock: disk_file.KeeperLock | None = None,
        notices: Sequence[HistoryNotice] = (),
    ) -> None:
        """A path without a lock means that the file could not be used."""
        self.path = path
        self._clock = clock
        self._connection = connection
        self._passphrase = passphrase
        self._lock = lock
        self._notices = list(notices)
        self._guard = threading.RLock()
        self._unsaved: set[str] = set()  # conversations changed while in memory
        self._failed_at = time.monotonic()
        self._refused: HistoryNotice | None = None  # why trying again cannot help, as told
        self._closed = False

    @classmethod
    def in_file(cls, path: Path, passphrase: str | None, clock: Clock) -> Self:
        """The file at `path`, or memory when it cannot be used; raises as `open_file` does."""
        try:
            opened = open_file(path, passphrase, clock())
        except Unusable as reason:
            connection = new_memory()
            if reason.notice.trouble is not Trouble.NEWER:
                read_into(connection, path, passphrase)
            return cls(connection, clock, path=path, passphrase=passphrase, notices=[reason.notice])
        storage = cls(
            opened.connection,
            clock,
            path=path,
            passphrase=passphrase,
            lock=opened.lock,
            notices=opened.notices,
        )
        storage._finish_upkeep()
        return storage

    @property
    def on_disk(self) -> bool:
        return self._lock is not None

    def tell(self, notice: HistoryNotice) -> None:
        with self._guard:
            self._notices.append(notice)

    def take_notices(self) -> tuple[HistoryNotice, ...]:
        with self._guard:
            notices, self._notices = tuple(self._notices), []
        return notices

    def read(self, work: Work[T]) -> T:
        """Run `work`; when the file fails, again on what of it is in memory."""
        with self._guard:
            self._refuse_closed()
            try:
                return work(self._connection)
            except database.database_errors() as error:
                self._go_on_in_memory(error)
                return work(self._connection)

    def write(self, work: Work[T], conversation: str | None = None) -> T:
        """Run `work` in a transaction, committed on return; when the file fails, in memory."""
        with self._guard:
            self._refuse_closed()
            try:
                result = self._in_transaction(work)
            except database.database_errors() as error:
                self._go_on_in_memory(error)
                result = self._in_transaction(work)
            if not self.on_disk and conversation:
                self._unsaved.add(conversation)
            return result

    def erase(self, work: Work[None]) -> None:
        """Run `work`, which deletes, and leave none of the words in any file.

        Never falls back to memory: raises SparseDoctorError when the file cannot be changed.
        """
        with self._guard:
            self._refuse_closed()
            self.retry_saving()
            if self.path is None or self.on_disk:
                try:
                    self._in_transaction(work)
                except database.database_errors() as error:
                    raise SparseDoctorError(
                        f"nothing was deleted: {self.path} cannot be changed ({error}); free disk "
                        "space, close other windows and try again"
                    ) from error
                self._finish_upkeep()
            else:
                self._in_transaction(work)
                raise SparseDoctorError(
                    f"deleted in memory only: {self.path} cannot be changed now and may still "
                    "hold these words; delete them again when it can be"
                )

    def retry_now_and_then(self) -> None:
        """`retry_saving`, but not so often that a disk that stays full slows every message."""
        with self._guard:
            if time.monotonic() - self._failed_at >= RETRY_SECONDS:
                self._failed_at = time.monotonic()
                self.retry_saving()

    def retry_saving(self) -> bool:
        """After the file failed: copy what changed since into it, if that is possible now."""
        with self._guard:
            if self.path is None or self.on_disk or self._closed:
                return self.on_disk
            try:
                opened = open_file(self.path, self._passphrase, self._clock())
            except Unusable:
                return False
            except SparseDoctorError as error:  # encrypted meanwhile: no waiting mends that
                values = {"path": str(self.path), "detail": str(error)}
                self._refuse_once(HistoryNotice(Trouble.FAILED, values))
                return False
            errors = database.database_errors()
            try:
                with database.transaction(opened.connection):
                    copying.copy_all(self._connection, opened.connection, errors, self._unsaved)
            except errors:
                _close(opened.connection)
                opened.lock.release()
                return False
            _close(self._connection)
            self._connection, self._lock = opened.connection, opened.lock
            self._unsaved.clear()
            self._refused = None
            self._notices.extend(opened.notices)
            self._notices.append(HistoryNotice(Trouble.SAVED_AGAIN))
            return True

    def _refuse_once(self, notice: HistoryNotice) -> None:
        """Tell why it cannot be saved again, but not at every try."""
        if notice != self._refused:
            self._refused = notice
            self._notices.append(notice)

    def close(self) -> None:
        with self._guard:
            if self._unsaved:
                self.retry_saving()
            _close(self._connection)
            if self._lock:
                self._lock.release()
            self._closed = True

    def _refuse_closed(self) -> None:
        if self._closed:
            raise SparseDoctorError("the history is closed; open it again")

    def _in_transaction(self, work: Work[T]) -> T:
        with database.transaction(self._connection):
            return work(self._connection)

    def _go_on_in_memory(self, error: Exception) -> None:
        """Change over after a failure of the file; any other failure is raised again."""
        if self.path is None or not self.on_disk or not database.is_storage(error):
            raise error
        self._notices.append(database.explain(error, self.path))
        self._failed_at = time.monotonic()
        connection = new_memory()
        with database.transaction(connection):
            copying.copy_all(self._connection, connection, database.database_errors())
        _close(self._connection)
        if self._lock:
            self._lock.release()
        self._connection, self._lock = connection, None

    def _finish_upkeep(self) -> None:
        """Rewrite the file without what was deleted, if that is still to be done."""
        connection, path = self._connection, self.path
        if not connection.execute("SELECT 1 FROM upkeep WHERE task = 'compact'").fetchone():
            return
        try:
            connection.execute("VACUUM")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchone()
            if path and busy:
                raise sqlite3.OperationalError("another window is using it")
            if path:
                disk_file.remove_backups(path)
            connection.execute("DELETE FROM upkeep WHERE task = 'compact'")
        except database.database_errors() as error:
            self.tell(HistoryNotice(Trouble.NOT_COMPACTED, {"detail": str(error)}))


def new_memory() -> sqlite3.Connection:
    """Empty tables that never touch the disk."""
    connection = database.memory()
    with database.transaction(connection):
        schema.migrate(connection)
    return connection


def _close(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(*database.database_errors()):
        connection.close()
