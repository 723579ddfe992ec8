"""The history of consultations: saved as it happens, searchable, deletable, private on request."""

from sparsedoctor.app.consultation.history.database import WrongPassphrase
from sparsedoctor.app.consultation.history.encryption import LOST_WITHOUT, is_encrypted
from sparsedoctor.app.consultation.history.history import History, convert_history, default_path
from sparsedoctor.app.consultation.history.notices import HistoryNotice, Trouble
from sparsedoctor.app.consultation.history.opening import PassphraseNeeded
from sparsedoctor.app.consultation.history.private_file import write_private
from sparsedoctor.app.consultation.history.records import Conversation, Match, Message
from sparsedoctor.app.consultation.history.summary_fields import summary_fields

__all__ = [
    "LOST_WITHOUT",
    "Conversation",
    "History",
    "HistoryNotice",
    "Match",
    "Message",
    "PassphraseNeeded",
    "Trouble",
    "WrongPassphrase",
    "convert_history",
    "default_path",
    "is_encrypted",
    "summary_fields",
    "write_private",
]
