"""Answers that were saved while they grew and never reviewed, because the program ended.

Whatever shows or exports them asks here first: the checks of a finished answer (doses, links,
numbers) hold for them too.
"""

from __future__ import annotations

from sparsedoctor.app.consultation.history.records import INTERRUPTED, Message


def shown_text(message: Message) -> str:
    """The text of `message` as it may be shown."""
    if message.role == "user" or message.error != INTERRUPTED or not message.text:
        return message.text
    # the rules take a while to load, and this is rare
    from sparsedoctor.app.consultation.language import language_of
    from sparsedoctor.app.consultation.numbers import numbers_for
    from sparsedoctor.app.consultation.review import review

    return review(message.text, language_of(message.text), numbers_for(None)).text
