"""Which token rows a batch needs, and in which order batches are cheapest. No torch here.

    text: read once for all its rows | padding | rest of the prompt | candidate but its last token |
    ---------------------------------|---------|--------------------|------------------------------|

Questions of a subject share their few-shot block (or at least the wording before the question), the
candidates of one question its whole prompt. A candidate of one token is read from the logits after
the prompt and needs no row of its own; rows that another row begins with are dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

_LEAST_PREFIX = 16  # tokens; reading fewer again is cheaper than another group


@dataclass(frozen=True, slots=True)
class Prompted:
    """One request as token ids.

    `key` is equal for requests that begin alike; None for one that shares less with others than its
    candidates with each other.
    """

    index: int
    key: Hashable | None
    ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch, after the text that was read before it."""

    index: int
    rest: tuple[int, ...]
    tail: tuple[int, ...]
    text: int = 0  # which of its group's texts

    @property
    def length(self) -> int:
        return len(self.rest) + len(self.tail)


@dataclass(frozen=True, slots=True)
class Group:
    """Texts that are read once, together, and the rows that go on from them."""

    texts: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.texts), default=0)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be."""

    tokens: int  # read in it, padding included
    cached: int  # the same with the prefix of every row
    logits: int  # positions whose logits are kept


def groups_of(prompted: Iterable[Prompted], limits: Limits) -> list[Group]:
    """Requests by what they begin with, and the rest.

    A prompt's last token is never part of a text: its logits are wanted.
    """
    by_key: dict[Hashable, list[Prompted]] = {}
    for one in prompted:
        by_key.setdefault(one.key, []).append(one)
    groups = prompts_of(by_key.pop(None, ()), limits)
    alone = []
    for members in by_key.values():
        prefix = members[0].ids[:-1]
        for other in members[1:]:
            prefix = prefix[: _common(prefix, other.ids[:-1])]
        if len(members) > 1 and len(prefix) >= _LEAST_PREFIX:
            rows = (row for member in members for row in rows_of(member, len(prefix)))
            groups.append(Group((prefix,), tuple(rows)))
        else:
            alone += members
    rest = tuple(row for member in alone for row in rows_of(member))
    return [*groups, Group((), rest)] if rest else groups


def prompts_of(prompted: Iterable[Prompted], limits: Limits) -> list[Group]:
    """Groups of prompts of like length, each a text of its own; the longest first."""
    chunks: list[list[Prompted]] = []
    for one in sorted(prompted, key=lambda one: (-len(one.ids), one.index)):
        if chunks and (len(chunks[-1]) + 1) * len(chunks[-1][0].ids) <= limits.tokens:
            chunks[-1].append(one)
        else:
            chunks.append([one])
    return [
        Group(
            tuple(one.ids[:-1] for one in chunk),
            tuple(row for i, one in enumerate(chunk) for row in rows_of(one, len(one.ids) - 1, i)),
        )
        for chunk in chunks
    ]


def rows_of(member: Prompted, read: int = 0, text: int = 0) -> list[Row]:
    """The rows that answer for every candidate of one request, `read` tokens of which are read."""
    rest = member.ids[read:]
    kept: list[tuple[int, ...]] = []
    tails = {candidate[:-1] for candidate in member.candidates}
    for tail in sorted(tails, key=lambda tail: (-len(tail), tail)):
        if not any(longer[: len(tail)] == tail for longer in kept):
            kept.append(tail)
    return [Row(member.index, rest, tail, text) for tail in kept]


def batches(rows: Sequence[Row], prefix: int, limits: Limits) -> list[list[Row]]:
    """Rows of like length together, longest first: what does not fit shows at once.

    `prefix`: the longest text before them.
    """
    result: list[list[Row]] = []
    tail = 0
    for row in sorted(rows, key=lambda row: (-row.length, row.index)):
        if result:
            width, count = result[-1][0].length, len(result[-1]) + 1
            tail = max(tail, len(row.tail))
            if (
                count * width <= limits.tokens
                and count * (prefix + width) <= limits.cached
                and count * (tail + 1) <= limits.logits
            ):
                result[-1].append(row)
                continue
        tail = len(row.tail)
        result.append([row])
    return result


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count
