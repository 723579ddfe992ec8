"""The history of a person's consultations.

    begin ─▶ add_user ─▶ answer_begin ─▶ answer_append ... ─▶ answer_finish

`add_user` has committed the words when it returns, before any answer is made; the answer is
saved while it grows. When the disk cannot be used the conversation goes on in memory and a
notice says so: nothing here ever stands in the way of an answer. Any thread may call anything.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from sparsedoctor.app.consultation.history import disk_file, encryption, search, tables
from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.app.consultation.history.records import (
    INTERRUPTED,
    Conversation,
    EndStatus,
    Match,
    Message,
)
from sparsedoctor.app.consultation.history.storage import Storage, new_memory
from sparsedoctor.app.consultation.history.transcript import transcript
from sparsedoctor.app.consultation.history.writers import this_writer
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.paths import data_dir

FILE_NAME = "history.db"
SAVE_SECONDS = 1.0  # a growing answer is saved at most this often


@dataclass(slots=True)
class _Growing:
    conversation: str
    unsaved: str
    saved_at: float  # of the monotonic clock, seconds


class History:
    """Conversations in a file (`open`) or only in memory (`private`); the same surface."""

    def __init__(self, storage: Storage) -> None:
        """Use `open` or `private`."""
        self._storage = storage
        self._guard = threading.RLock()
        self._writer = this_writer()
        self._growing: dict[str, _Growing] = {}
        self._begun: set[str] = set()  # conversations that may still be empty
        self._closed = False

    @classmethod
    def open(cls, path: Path | None = None, passphrase: str | None = None) -> Self:
        """The history at `path` (None: history.db in the data folder), made if absent.

        When it cannot be used, one in memory whose `take_notices` says why. Raises only what the
        person can put right: PassphraseNeeded, WrongPassphrase, another program's file.
        """
        try:
            path = path or default_path()
        except SparseDoctorError as error:
            values = {"path": FILE_NAME, "detail": str(error)}
            notices = [HistoryNotice(Trouble.FAILED, values)]
            return cls(Storage(new_memory(), _now, notices=notices))
        return cls(Storage.in_file(path, passphrase, _now))

    @classmethod
    def private(cls) -> Self:
        """A history that never touches the disk and is gone when it is closed."""
        return cls(Storage(new_memory(), _now))

    @property
    def path(self) -> Path | None:
        """The file; None for a private history."""
        return self._storage.path

    @property
    def saved(self) -> bool:
        """Whether what is written now reaches the disk."""
        return self._storage.on_disk

    def take_notices(self) -> tuple[HistoryNotice, ...]:
        """What the person should be told and was not yet."""
        return self._storage.take_notices()

    # --- a conversation as it happens ---

    def begin(
        self,
        *,
        title: str = "",
        language: str = "",
        model: str = "",
        model_sha256: str = "",
        intake: Mapping[str, object] | None = None,
    ) -> str:
        """A new conversation; its id. It is listed from its first message on, and without a
        title named after it. `intake` must be ready for JSON."""
        conversation = uuid.uuid4().hex
        self._storage.retry_now_and_then()

        now = _now()

        def work(connection: sqlite3.Connection) -> None:
            tables.add_conversation(
                connection,
                conversation,
                now,
                title=title,
                language=language,
                model=model,
                model_sha256=model_sha256,
                intake=intake,
            )

        self._storage.write(work, conversation)
        self._begun.add(conversation)
        return conversation

    def set_intake(self, conversation: str, intake: Mapping[str, object]) -> None:
        """Replace what the person told about themselves."""
        self._change(conversation, "intake", tables.as_json(intake))

    def add_user(
        self, conversation: str, text: str, assessment: Mapping[str, object] | None = None
    ) -> str:
        """Save the person's words; they are committed when this returns the message's id.

        In a conversation that was deleted meanwhile (in another window) they begin it anew.
        """
        self._storage.retry_now_and_then()
        message = tables.NewMessage(
            id=uuid.uuid4().hex,
            conversation=conversation,
            role="user",
            text=text,
            created=_now(),
            assessment=assessment or {},
        )
        self._storage.write(lambda on: tables.add_message(on, message), conversation)
        self._begun.discard(conversation)
        return message.id

    def answer_begin(
        self, conversation: str, generation: Mapping[str, object] | None = None
    ) -> str:
        """An answer with the status "streaming"; its message id. `generation`: what makes it
        (seed, sampling, model hash, version)."""
        message = tables.NewMessage(
            id=uuid.uuid4().hex,
            conversation=conversation,
            role="assistant",
            text="",
            created=_now(),
            status="streaming",
            generation=generation or {},
            writer=self._writer,
        )
        with self._guard:
            self._storage.write(lambda on: tables.add_message(on, message), conversation)
            self._growing[message.id] = _Growing(conversation, "", time.monotonic())
        return message.id

    def answer_append(self, message: str, text: str) -> None:
        """More of a growing answer; saved at most once a second. One that has ended stays so."""
        with self._guard:
            growing = self._growing.get(message)
            if growing is None:
                return
            growing.unsaved += text
            if time.monotonic() - growing.saved_at >= SAVE_SECONDS:
                self._save_growing(message, growing)

    def answer_finish(
        self,
        message: str,
        status: EndStatus = "done",
        *,
        text: str | None = None,
        error: str = "",
        generation: Mapping[str, object] | None = None,
        routing: Sequence[float] | None = None,
        assessment: Mapping[str, object] | None = None,
    ) -> None:
        """End an answer. `text` replaces what grew (the answer as reviewed); what is None stays.

        An answer that has ended already (closing does that too) stays as it is. With the error
        INTERRUPTED it was not reviewed; what is saved of it is.
        """
        with self._guard:
            growing = self._growing.pop(message, None)
            if growing is None:
                return
            ending = tables.Ending(
                status, text, growing.unsaved, error, generation, routing, assessment
            )
            now = _now()
            self._storage.write(
                lambda on: tables.finish(on, message, ending, now), growing.conversation
            )

    # --- reading ---

    def conversations(self, query: str | None = None) -> list[Conversation]:
        """Those with at least one message: pinned first, then the last used.

        With a query, those whose title or messages hold every word of it.
        """
        listed = self._storage.read(
            lambda on: tables.conversations(on, "id IN (SELECT conversation FROM message)")
        )
        if query is None or not query.strip():
            return listed
        found = self._storage.read(lambda on: tables.holding(on, query))
        return [one for one in listed if one.id in found or search.holds(one.title, query)]

    def conversation(self, conversation: str) -> Conversation:
        """Raises SparseDoctorError when there is none of this id."""
        found = self._storage.read(lambda on: tables.conversations(on, "id = ?", (conversation,)))
        if not found:
            raise SparseDoctorError("this conversation is not in the history; it may be deleted")
        return found[0]

    def messages(self, conversation: str) -> list[Message]:
        """Everything said in it, in order; a question answered anew has several answers."""
        return self._storage.read(
            lambda on: tables.messages(on, "conversation = ?", (conversation,))
        )

    def search(self, text: str, limit: int = 100) -> list[Match]:
        """Messages that hold every word of `text`, the newest first; any piece of a word counts."""
        return self._storage.read(lambda on: tables.find(on, text, limit))

    def export(
        self,
        conversation: str,
        form: Literal["markdown", "json"] = "markdown",
        *,
        without_identifiers: bool = False,
    ) -> str:
        """A conversation as text. Write it with `private_file.write_private`."""
        return transcript(
            self.conversation(conversation),
            self.messages(conversation),
            form,
            without_identifiers=without_identifiers,
        )

    # --- keeping order ---

    def rename(self, conversation: str, title: str) -> None:
        self._change(conversation, "title", " ".join(title.split()))

    def pin(self, conversation: str, pinned: bool = True) -> None:
        self._change(conversation, "pinned", int(pinned))

    def branch(self, message: str) -> str:
        """A new conversation with everything up to `message`; its id. The words are copied, so
        that each of the two can be deleted without the other."""
        conversation = uuid.uuid4().hex
        now = _now()
        with self._guard:
            for growing_message, growing in self._growing.items():
                self._save_growing(growing_message, growing)
            if not self._storage.write(
                lambda on: tables.branch(on, message, conversation, now),
                conversation,
            ):
                raise SparseDoctorError("this message is not in the history; it may be deleted")
        return conversation

    def branch_whole(self, conversation: str) -> str:
        """A new conversation with everything said in this one; its id."""
        said = self.messages(conversation)
        if not said:
            raise SparseDoctorError("there is nothing in this conversation to go on from")
        return self.branch(said[-1].id)

    def delete(self, conversation: str) -> None:
        """Delete a conversation so that its words are in none of the files any more.

        Copies made before a migration go too. Raises SparseDoctorError when the file cannot be
        changed. What was branched from the conversation stays, with its copy of the words.
        """
        self._delete(conversation)
        if self.path and (damaged := disk_file.damaged_files(self.path)):
            values = {"aside": str(damaged[0])}
            self._storage.tell(HistoryNotice(Trouble.DAMAGED_KEPT, values))

    def delete_all(self) -> None:
        """Delete everything, also damaged histories that were kept aside."""
        self._delete(None)
        if self.path:
            for file in disk_file.damaged_files(self.path):
                file.unlink(missing_ok=True)

    def retry_saving(self) -> bool:
        """After the disk failed: try to save what was said since. Whether it is saved now."""
        return self._storage.retry_saving()

    def close(self) -> None:
        """End growing answers as cancelled and close the file; may be called twice."""
        with self._guard:
            if self._closed:
                return
            for message in list(self._growing):
                self.answer_finish(message, "cancelled", error=INTERRUPTED)
            if self._begun:
                begun = tuple(self._begun)
                self._storage.write(lambda on: tables.drop_empty(on, begun))
            self._storage.close()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _save_growing(self, message: str, growing: _Growing) -> None:
        text = growing.unsaved
        self._storage.write(lambda on: tables.grow(on, message, text), growing.conversation)
        growing.unsaved, growing.saved_at = "", time.monotonic()

    def _change(self, conversation: str, column: str, value: object) -> None:
        self._storage.write(lambda on: tables.change(on, conversation, column, value), conversation)

    def _delete(self, conversation: str | None) -> None:
        with self._guard:
            self._storage.erase(lambda on: tables.delete(on, conversation))


def default_path() -> Path:
    """Where the history lies. Raises SparseDoctorError when the folder cannot be made."""
    folder = data_dir()
    disk_file.make_private(folder)  # it may have been there before, open to others
    return folder / FILE_NAME


def convert_history(old: str | None, new: str | None, path: Path | None = None) -> list[Path]:
    """Encrypt the history (old None), decrypt it (new None) or change its passphrase.

    See `encryption.convert`; say `LOST_WITHOUT` before.
    """
    return encryption.convert(path or default_path(), old, new, _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
