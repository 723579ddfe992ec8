"""Answers that ended, or still grow, without having been reviewed: the program was left or ended.

Whatever shows, saves or exports one asks here first: the checks of a finished answer (doses,
links, numbers) hold for it too.
"""

from __future__ import annotations

from sparsedoctor.app.consultation.history.records import Message


def shown_text(message: Message) -> str:
    """The text of `message` as it may be shown. A reviewed answer has an assessment."""
    if message.role == "user" or message.assessment:
        return message.text
    return reviewed(message.text)


def reviewed(text: str) -> str:
    """`text` of a model after the checks of a finished answer; twice is as good as once."""
    if not text:
        return text
    # the rules take a while to load, and this is rare
    from sparsedoctor.app.consultation.language import language_of
    from sparsedoctor.app.consultation.numbers import numbers_for
    from sparsedoctor.app.consultation.review import review

    return review(text, language_of(text), numbers_for(None)).text
