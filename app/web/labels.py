"""Components whose own words follow the language of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from sparsedoctor.app.consultation.language import Language
from sparsedoctor.app.web.texts import PageTexts, texts

Words = Callable[[PageTexts], dict[str, Any]]


class Labels:
    """Makes the components and remembers which words each of them shows."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._made: list[tuple[Any, Words]] = []

    def make(self, kind: Any, words: Words, **options: Any) -> Any:
        """A component of `kind`; `words` gives its label, placeholder, ... in a language."""
        component = kind(**words(texts(self._language)), **options)
        self._made.append((component, words))
        return component

    @property
    def components(self) -> list[Any]:
        """What `written` draws."""
        return [component for component, _ in self._made]

    def written(self, language: Language) -> list[Any]:
        """Every component in `language`."""
        return [gr.update(**words(texts(language))) for _, words in self._made]

    def unchanged(self) -> list[Any]:
        return [gr.skip() for _ in self._made]
