"""Which token rows a batch needs, and in which order batches are cheapest. No torch here.

    prefix: read once for a group    | padding | rest of the prompt | candidate but its last token |
    ---------------------------------|---------|--------------------|------------------------------|

Questions of a subject share their few-shot block (or at least the wording before the question). A
candidate of one token is read from the logits after the prompt and needs no row of its own; rows
that another row begins with are dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

_LEAST_PREFIX = 16  # tokens; reading fewer again is cheaper than another group


@dataclass(frozen=True, slots=True)
class Prompted:
    """One request as token ids. `key` is equal for requests that begin alike."""

    index: int
    key: Hashable
    ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch, after the shared prefix."""

    index: int
    rest: tuple[int, ...]
    tail: tuple[int, ...]

    @property
    def length(self) -> int:
        return len(self.rest) + len(self.tail)


@dataclass(frozen=True, slots=True)
class Group:
    """Requests whose prompts begin with the same ids."""

    prefix: tuple[int, ...]
    members: tuple[Prompted, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be."""

    tokens: int  # read in it, padding included
    cached: int  # the same with the prefix of every row
    logits: int  # positions whose logits are kept


def group_by_prefix(prompted: Iterable[Prompted]) -> list[Group]:
    """Requests by key with the ids that all of a key begin with; the rest without a prefix.

    A prompt's last token is never part of a prefix: its logits are wanted.
    """
    by_key: dict[Hashable, list[Prompted]] = {}
    for one in prompted:
        by_key.setdefault(one.key, []).append(one)
    groups, alone = [], []
    for members in by_key.values():
        prefix = members[0].ids[:-1]
        for other in members[1:]:
            prefix = prefix[: _common(prefix, other.ids[:-1])]
        if len(members) > 1 and len(prefix) >= _LEAST_PREFIX:
            groups.append(Group(prefix, tuple(members)))
        else:
            alone += members
    return [*groups, Group((), tuple(alone))] if alone else groups


def rows_of(member: Prompted, prefix: int) -> list[Row]:
    """The rows that answer for every candidate of one request."""
    rest = member.ids[prefix:]
    kept: list[tuple[int, ...]] = []
    tails = {candidate[:-1] for candidate in member.candidates}
    for tail in sorted(tails, key=lambda tail: (-len(tail), tail)):
        if not any(longer[: len(tail)] == tail for longer in kept):
            kept.append(tail)
    return [Row(member.index, rest, tail) for tail in kept]


def batches(rows: Sequence[Row], prefix: int, limits: Limits) -> list[list[Row]]:
    """Rows of like length together, longest first: what does not fit shows at once."""
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
