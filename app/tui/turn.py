"""One turn on the screen: the person's words, what the rules say, the answer as it grows."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Markdown, Static
from textual.widgets.markdown import MarkdownStream

from sparsedoctor.app.tui.alarm import AssessmentCard
from sparsedoctor.app.tui.flowing import flowing
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import facts_of, language_of_interface, remarks_of, wording


class TurnCard(Vertical):
    """Draws `TurnView`s of one turn; only what changed is drawn again."""

    def __init__(self, words: str) -> None:
        super().__init__(classes="turn")
        self.words = words
        self.view = TurnView()
        self._stream: MarkdownStream | None = None

    def compose(self) -> ComposeResult:
        yield Static(self.words, classes="words", markup=False)
        yield AssessmentCard(classes="card")
        yield Static("", classes="questions", markup=False)
        # open_links: a link that a model wrote is text, never a reason to start a browser.
        yield Markdown("", classes="answer", open_links=False)
        yield Static("", classes="remarks", markup=False)
        yield Static("", classes="meta muted", markup=False)

    def on_mount(self) -> None:
        for name in (".questions", ".remarks", ".meta"):
            self.query_one(name).display = False

    async def show(self, view: TurnView) -> None:
        """Draw `view`, which is later than all views drawn before."""
        before, self.view = self.view, view
        language = language_of_interface(view.assessment)
        words = wording(language)
        if view.assessment is not None and view.assessment is not before.assessment:
            self.query_one(AssessmentCard).show(view.assessment)
        if view.questions != before.questions:
            lines = [words.follow_up, *(f"• {question}" for question in view.questions)]
            self._say(".questions", "\n".join(lines))
        if view.reviewed is None:
            await self._grow(view.text[len(before.text) :])
        if view.finished is not None or view.remarks or view.notices or view.earlier:
            self._say(".remarks", "\n".join(remarks_of(view, language)))
        if view.started is not None:
            self._say(".meta", words.comma.join(facts_of(view, language)))

    async def settle(self) -> None:
        """The turn is over: draw the whole answer once more, as it may be shown."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        # Cells of a table that were streamed are drawn differently from those drawn at once.
        await self.query_one(Markdown).update(flowing(self.view.text))

    def fail(self, message: str) -> None:
        """The engine failed: say so in plain words below what was written."""
        said = remarks_of(self.view, language_of_interface(self.view.assessment))
        self._say(".remarks", "\n".join([*said, message]))
        self.query_one(".remarks").add_class("-error")

    async def _grow(self, delta: str) -> None:
        if not delta:
            return
        if self._stream is None:
            self._stream = Markdown.get_stream(self.query_one(Markdown))
        await self._stream.write(delta)

    def _say(self, name: str, text: str) -> None:
        widget = self.query_one(name, Static)
        widget.update(flowing(text))
        widget.display = bool(text)
