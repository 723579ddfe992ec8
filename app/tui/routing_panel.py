"""The panel that shows which experts this answer reaches, drawn from the engine's own routing."""

from __future__ import annotations

from rich.cells import set_cell_size
from textual.app import ComposeResult
from textual.color import Color
from textual.containers import Vertical
from textual.content import Content
from textual.style import Style
from textual.theme import Theme
from textual.widgets import Static

from sparsedoctor.app.routing_view import ExpertShare, LayerRow, expert_shares, heat, layer_rows
from sparsedoctor.app.tui.texts import TerminalTexts, texts
from sparsedoctor.core.engine.protocol import RoutingUpdate

_ROWS_AROUND = 7  # headings, source, legend and the gaps between them
_FEWEST_LAYER_ROWS = 3
_ROWS_ROOMY = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class RoutingPanel(Vertical):
    """Bars for each expert and a map of layers by experts."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._names: tuple[str, ...] = ()
        self._update: RoutingUpdate | None = None
        self._why_not = ""
        self._texts = texts("en")

    def compose(self) -> ComposeResult:
        yield Static("", id="routing-heading", classes="heading")
        yield Static("", id="routing-source", classes="muted", markup=False)
        yield Static("", id="routing-bars", markup=False)
        yield Static("", id="routing-layers-heading", classes="heading")
        yield Static("", id="routing-layers", markup=False)
        yield Static("", id="routing-legend", classes="muted", markup=False)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def explain(self, names: tuple[str, ...], why_not: str, words: TerminalTexts) -> None:
        """What the loaded model offers: expert names, or why there is no routing."""
        self._names, self._why_not, self._texts = names, why_not, words
        self.redraw()

    def show(self, update: RoutingUpdate | None) -> None:
        self._update = update
        self.redraw()

    def redraw(self) -> None:
        if not self.is_mounted:
            return
        update, width = self._update, max(8, self.content_size.width)
        source, words = self.query_one("#routing-source", Static), self._texts
        self.query_one("#routing-heading", Static).update(words.experts)
        if update is None or self._why_not:
            source.update(self._why_not or words.appears)
            for name in ("bars", "layers-heading", "layers", "legend"):
                self.query_one(f"#routing-{name}", Static).update("")
            return
        done = words.of_question if update.phase == "prompt" else words.of_answer
        source.update(done.format(update.tokens))
        accent, ground = self._colours()
        shares = expert_shares(update, self._names)
        roomy = self.content_size.height >= 2 * len(shares) + _ROWS_ROOMY
        lines = roomy_bars(shares, width, accent) if roomy else bars(shares, width, accent, ground)
        most = max(1, self.content_size.height - _ROWS_AROUND - _FEWEST_LAYER_ROWS)
        lines = lines[:most]
        self.query_one("#routing-bars", Static).update(Content("\n").join(lines))
        left = self.content_size.height - _ROWS_AROUND - len(lines)
        rows = layer_rows(update, 2 * max(_FEWEST_LAYER_ROWS, left))
        self.query_one("#routing-layers-heading", Static).update(words.layers)
        self.query_one("#routing-layers", Static).update(heat_map(rows, width, accent, ground))
        self.query_one("#routing-legend", Static).update(words.legend)

    def _colours(self) -> tuple[Color, Color]:
        variables = self.app.get_css_variables()
        return Color.parse(variables["accent"]), Color.parse(variables["surface"])

    def _theme_changed(self, _theme: Theme) -> None:
        self.redraw()


def roomy_bars(shares: tuple[ExpertShare, ...], width: int, colour: Color) -> list[Content]:
    """Two lines for each expert: its name and per cent, and a bar of its share."""
    lines: list[Content] = []
    for one in shares:
        lines.append(Content(_name_and_share(one, width)))
        lines.append(Content.styled(bar(one.share, width), Style(foreground=colour)))
    return lines


def bars(
    shares: tuple[ExpertShare, ...], width: int, colour: Color, ground: Color
) -> list[Content]:
    """One line for each expert: the bar lies behind its name, and is muted to keep it legible."""
    muted = ground.blend(colour, 0.45)
    lines = []
    for one in shares:
        line = _name_and_share(one, width)
        content = Content(line)
        # In cells a wide character counts twice: cut the text, not the number of characters.
        filled = len(set_cell_size(line, round(one.share * width)).rstrip("\0"))
        lines.append(content.stylize(Style(background=muted), 0, min(filled, len(line))))
    return lines


def _name_and_share(one: ExpertShare, width: int) -> str:
    per_cent = f" {one.share:3.0%}"
    return set_cell_size(one.name, max(1, width - len(per_cent))) + per_cent


def bar(share: float, width: int) -> str:
    """A bar in eighths of a cell: `width` cells are a share of 1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def heat_map(rows: tuple[LayerRow, ...], width: int, hot: Color, cold: Color) -> Content:
    """One line for two rows (upper and lower half of "▀"), one column block for each expert."""
    if not rows:
        return Content("")
    experts = len(rows[0].shares)
    label = len(str(rows[-1].last)) + 1
    block = max(1, (width - label) // max(1, experts) - 1)
    lines: list[Content] = []
    for upper_row in range(0, len(rows), 2):
        upper = rows[upper_row]
        lower = rows[upper_row + 1] if upper_row + 1 < len(rows) else None
        parts: list[str | Content | tuple[str, str | Style]] = [f"{upper.first:>{label - 1}} "]
        for expert in range(experts):
            top = cold.blend(hot, heat(upper.shares[expert], experts))
            bottom = cold.blend(hot, heat(lower.shares[expert], experts)) if lower else cold
            parts.append(("▀" * block, Style(foreground=top, background=bottom)))
            parts.append(" ")
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)


def strip(update: RoutingUpdate | None, names: tuple[str, ...], instead: str, width: int) -> str:
    """One line for narrow terminals: every expert's share, shortest names that fit; `instead`
    where there is nothing to show."""
    if update is None:
        return instead
    shares = expert_shares(update, names)
    full = "  ".join(f"{one.name} {one.share:.0%}" for one in shares)
    if len(full) <= width:
        return full
    return " ".join(f"E{number} {one.share:.0%}" for number, one in enumerate(shares))
