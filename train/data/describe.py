"""What the data looks like before anything is trained, as text: `--dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from sparsedoctor.train.data.batches import Packed
from sparsedoctor.train.data.encode import IGNORED, Encoded, EncodedData
from sparsedoctor.train.data.example import Example

_BAR = 40  # characters of the longest bar
_SHOWN = 1200  # characters of a decoded example


def describe_data(
    train: EncodedData,
    held_out: EncodedData,
    tokenizer: Any,
    *,
    max_tokens: int,
    packed: Sequence[Packed] | None = None,
) -> str:
    """Counts, token histograms and one decoded example with its loss mask."""
    parts = [_counts(train, held_out, max_tokens)]
    if train.examples:
        parts += [
            _histogram("tokens of an example", [len(e.input_ids) for e in train.examples]),
            _histogram("learned tokens of an example", [e.learned for e in train.examples]),
        ]
        if packed is not None:
            parts.append(_packing(packed, max_tokens))
        middle = sorted(range(len(train.examples)), key=lambda n: len(train.examples[n].input_ids))
        shown = middle[len(middle) // 2]  # of median length: neither a one-liner nor a book
        parts.append(show_example(train.kept[shown], train.examples[shown], tokenizer))
    return "\n\n".join(parts)


def show_example(example: Example, encoded: Encoded, tokenizer: Any) -> str:
    """An example decoded from its tokens, what is learned between ⟦ and ⟧."""
    pieces: list[str] = []
    begin = 0
    ids, learned = encoded.input_ids, [label != IGNORED for label in encoded.labels]
    for position in range(1, len(ids) + 1):
        if position == len(ids) or learned[position] != learned[begin]:
            text = str(tokenizer.decode(ids[begin:position], clean_up_tokenization_spaces=False))
            pieces.append(f"⟦{_middle_cut(text)}⟧" if learned[begin] else _middle_cut(text))
            begin = position
    end = ", its end cut off" if encoded.cut else ""
    return (
        f"An example as the model sees it ({Path(example.source).name}, line {example.line}; "
        f"{len(ids)} tokens{end}). Only what stands between ⟦ and ⟧ is learned, "
        f"{sum(learned)} tokens:\n\n" + "".join(pieces)
    )


def _counts(train: EncodedData, held_out: EncodedData, max_tokens: int) -> str:
    lines = [f"{'':<12}{'examples':>10}{'topics':>10}{'tokens':>14}{'learned':>14}{'cut':>8}"]
    for name, data in (("train", train), ("held out", held_out)):
        tokens = sum(len(e.input_ids) for e in data.examples)
        learned = sum(e.learned for e in data.examples)
        cut = sum(e.cut for e in data.examples)
        topics = len({e.topic for e in data.kept} - {None})
        lines.append(
            f"{name:<12}{len(data.examples):>10,}{topics:>10,}{tokens:>14,}{learned:>14,}{cut:>8,}"
        )
    lines.append(f"cut: the answer's end lies beyond {max_tokens} tokens")
    too_long = len(train.too_long) + len(held_out.too_long)
    if too_long:
        lines.append(f"left out: {too_long:,}, because their question alone fills {max_tokens}")
    lines.append("")
    lines.append(_ranked("files", (Path(e.source).name for e in train.kept)))
    lines.append(_ranked("subjects", (e.subject or "(none)" for e in train.kept)))
    lines.append(_ranked("answers", (str(len(e.answers)) for e in train.kept)))
    return "\n".join(lines)


def _ranked(name: str, values: Iterable[str], shown: int = 8) -> str:
    counts = Counter(values)
    most = ", ".join(f"{value} {count:,}" for value, count in counts.most_common(shown))
    rest = len(counts) - shown
    return f"{name:<12}{most}" + (f", and {rest:,} more" if rest > 0 else "")


def _histogram(title: str, values: Sequence[int]) -> str:
    """Counts by powers of two."""
    bins = Counter(max(value - 1, 0).bit_length() for value in values)  # 2^(b-1) < value <= 2^b
    most = max(bins.values())
    lines = [
        f"{title}: mean {fmean(values):,.0f}, median {median(values):,.0f}, {max(values):,} at most"
    ]
    for exponent in range(min(bins), max(bins) + 1):
        count = bins[exponent]
        low, high = (2 ** (exponent - 1) + 1 if exponent else 0), 2**exponent
        bar = "█" * round(_BAR * count / most) or ("▏" if count else "")
        lines.append(f"{low:>7,} - {high:>6,} {count:>8,}  {bar}".rstrip())
    return "\n".join(lines)


def _packing(packed: Sequence[Packed], max_tokens: int) -> str:
    examples = sum(len(row.examples) for row in packed)
    filled = sum(map(len, packed)) / (len(packed) * max_tokens)
    return (
        f"packed: {examples:,} examples in {len(packed):,} rows of {max_tokens} tokens, "
        f"{filled:.1%} of them filled"
    )


def _middle_cut(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]} … ({len(text) - 2 * half:,} characters) … {text[-half:]}"
