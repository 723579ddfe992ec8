"""What is asked of a model for one question, and what its numbers mean. Pure.

    logprob          the log-probability of each candidate after the prompt
    logprob-mean     the same divided by the candidate's tokens (matters for option texts)
    logprob-permuted the candidates' probabilities averaged over the rotations of the options, so
                     that each text stood under each letter once: small models answer by position
    logprob-pmi      that of an option's text less what it has where nothing was asked: how much
                     likelier the question makes it (pointwise mutual information; Holtzman et al.,
                     "Surface Form Competition", EMNLP 2021). For `candidates="cloze"`
    generate         what the model writes, greedily, read by `answers`
    loss             negative log-likelihood of the reference: the authors' answer, or the
                     explanation of an exam question after its right answer, which is given

Candidates are the option letters, the option texts (`candidates="text"`), or the option texts after
a question that was asked without its options (`"cloze"`). For a question with several right options
they are all sets of letters after its options, and the score of a set is the probability that the
model writes exactly it: the probability of its letters less that of every longer string that goes
on from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.compatibility import MODES
from sparsedoctor.train.evaluate.prompts import WORDINGS, Wording, cloze_for, messages_for
from sparsedoctor.train.evaluate.questions import Question

SCORINGS = ("logprob", "logprob-mean", "logprob-permuted", "logprob-pmi", "generate", "loss")
CANDIDATES = ("letter", "text", "cloze")
_SAME_TOKENS = 2e-2  # nats: the same token scored twice, in different batches
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides a score, apart from model and data."""

    scoring: str = "logprob"
    candidates: str = "letter"
    level: str = "first-letter"  # of reading generated answers
    compatibility: str = ""
    shots: int = 0
    seed: int = 0
    max_tokens: int = 64  # written at most, with `generate`

    def __post_init__(self) -> None:
        if self.compatibility == "huatuogpt-2" and self.scoring != "generate":
            raise SparseDoctorError(
                "--compatibility huatuogpt-2 is about reading answers; use it with "
                "--scoring generate"
            )
        if self.compatibility and self.compatibility not in MODES:
            raise SparseDoctorError(f"--compatibility is one of {', '.join(MODES)}")
        if self.candidates != "letter" and self.scoring in ("generate", "loss"):
            raise SparseDoctorError(
                f"--candidates {self.candidates} has no meaning with {self.scoring}"
            )
        if self.candidates != "letter" and self.scoring == "logprob-permuted":
            raise SparseDoctorError(
                "--scoring logprob-permuted is about letters; use it with --candidates letter"
            )
        if self.candidates != "cloze" and self.scoring == "logprob-pmi":
            raise SparseDoctorError(
                "--scoring logprob-pmi is about option texts that are not shown; use it with "
                "--candidates cloze"
            )
        if self.candidates == "cloze" and self.compatibility:
            raise SparseDoctorError(
                f"--compatibility {self.compatibility} shows options; use it without "
                "--candidates cloze"
            )


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, and the continuations to be scored after it (none: write an answer)."""

    question: Question
    messages: tuple[Message, ...]
    continuations: tuple[str, ...]
    prefix: int  # leading messages shared by the questions of a subject
    shift: int = 0  # how far the options are rotated
    unasked: bool = False  # its prompt asks nothing; for what the question is worth


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question. `chosen` is "" when it cannot be read."""

    chosen: str
    scores: dict[str, float]  # letters -> log-probability; loss: nats, tokens and bytes
    text: str | None = None  # what the model wrote
    readings: dict[str, str] | None = None  # by level


def requests_for(
    question: Question, shots: Sequence[Question], wording: str, settings: Settings
) -> list[Request]:
    """The prompts that this question needs.

    One, but for the rotations of permuted scoring, and where what is asked is compared with
    nothing being asked; then that is the last one.
    """
    cloze = settings.candidates == "cloze" and not question.multiple
    wording = cloze_for(question.language) if cloze else wording
    shifts = len(question.options) if settings.scoring == "logprob-permuted" else 1
    turns = [(shift, False) for shift in range(shifts)]
    if cloze and settings.scoring == "logprob-pmi":
        turns.append((0, True))
    words = WORDINGS[wording]
    follows = settings.scoring == "loss" and question.options  # an explanation after its answer
    gap = words.gap if settings.scoring.startswith("logprob") or follows else ""
    requests = []
    for shift, unasked in turns:
        rotated = question.permuted(shift)
        # Options that are not shown can be answered all the same, as in CMB's script.
        shown, *examples = (
            one.without_short_options() if settings.compatibility == "cmb" else one
            for one in (rotated, *shots)
        )
        begun = begun_answer(rotated, words, settings)
        messages = messages_for(shown, examples, wording, begun=begun, unasked=unasked)
        continuations = tuple(gap + text for text in continuations_of(rotated, settings))
        prefix = 2 * len(examples)
        requests.append(Request(question, tuple(messages), continuations, prefix, shift, unasked))
    return requests


def begun_answer(question: Question, words: Wording, settings: Settings) -> str:
    """How the answer begins that is scored; "" where the model writes it from its first word."""
    if settings.scoring == "generate":
        return ""
    if settings.scoring == "loss":
        # Not whether a model knows the answer is asked here, but whether it could explain it.
        return words.before_explanation(question)
    return words.lead


def continuations_of(question: Question, settings: Settings) -> tuple[str, ...]:
    """The texts whose log-probability is asked for, in the order of `candidate_letters`."""
    if settings.scoring == "generate":
        return ()
    if settings.scoring == "loss":
        reference = question.reference or question.explanation
        if not reference:
            raise SparseDoctorError(
                f"{question.id} has no explanation or reference; --scoring loss needs one"
            )
        return (reference,)
    if settings.candidates != "letter" and not question.multiple:
        return tuple(question.options.values())
    return candidate_letters(question)


def candidate_letters(question: Question) -> tuple[str, ...]:
    """ "A", "B", ...; for several right options also "AB", "AC", ..., "ABC", ..."""
    letters = question.letters
    sizes = range(1, len(letters) + 1) if question.multiple else (1,)
    return tuple("".join(chosen) for size in sizes for chosen in combinations(letters, size))


def verdict_of_scores(
    question: Question,
    answers: Sequence[tuple[Request, Sequence[Sequence[float]]]],
    settings: Settings,
) -> Verdict:
    """Choose by the token log-probabilities of each candidate (`[request][candidate][token]`).

    Raises SparseDoctorError for a model that gives none.
    """
    if any(math.isnan(value) for _, parts in answers for part in parts for value in part):
        raise SparseDoctorError(
            f"the model's probabilities for question {question.id} are no numbers (nan): "
            "its weights are damaged or its training diverged"
        )
    if settings.scoring == "loss":
        ((request, (tokens,)),) = answers
        nats = -sum(tokens)
        size = len(request.continuations[0].encode())
        scores = {"nats": nats, "tokens": float(len(tokens)), "bytes": float(size)}
        return Verdict("", scores)
    tables = [_scores(question, tokens, settings) for _, tokens in answers]
    if answers[-1][0].unasked:
        asked, unasked = tables
        scores = {name: asked[name] - unasked[name] for name in asked}
    else:
        scores = tables[0] if len(tables) == 1 else _unrotated(question, answers, tables)
    best = max(scores.values())
    chosen = next(letters for letters, score in scores.items() if score == best)
    # A server that lists none of the letters says nothing about them.
    silent = len(scores) > 1 and min(scores.values()) == best
    return Verdict("" if silent else chosen, scores)


def _scores(
    question: Question, tokens: Sequence[Sequence[float]], settings: Settings
) -> dict[str, float]:
    names = candidate_letters(question)
    totals = [sum(one) for one in tokens]
    if question.multiple:
        return dict(zip(names, _exactly(names, tokens, totals), strict=True))
    if settings.scoring == "logprob-mean":
        totals = [total / max(1, len(one)) for total, one in zip(totals, tokens, strict=True)]
    return dict(zip(names, totals, strict=True))


def _exactly(
    names: Sequence[str], tokens: Sequence[Sequence[float]], totals: Sequence[float]
) -> list[float]:
    """Log-probability of each set of letters and no further letter.

    "AB" goes on from "A" only where its tokens begin with A's; where a vocabulary has "AB" as one
    token, the two are different events from the start.
    """
    index = {name: i for i, name in enumerate(names)}
    letters = sorted({letter for name in names for letter in name})
    exact = []
    for i, name in enumerate(names):
        longer = 0.0
        for letter in letters:
            j = index.get(name + letter) if letter > name[-1] else None
            if j is not None and _begins(tokens[j], tokens[i]):
                longer += math.exp(totals[j])
        exact.append(math.log(max(math.exp(totals[i]) - longer, _FLOOR)))
    return exact


def _begins(longer: Sequence[float], shorter: Sequence[float]) -> bool:
    return len(longer) > len(shorter) and all(
        abs(a - b) <= _SAME_TOKENS for a, b in zip(longer, shorter, strict=False)
    )


def _unrotated(
    question: Question,
    answers: Sequence[tuple[Request, Sequence[Sequence[float]]]],
    tables: Sequence[Mapping[str, float]],
) -> dict[str, float]:
    """Mean log-probability of each set of texts over the rotations, by its own letters.

    Each rotation is normalised over its candidates first, so that none weighs more.
    """
    letters = question.letters
    mean = dict.fromkeys(candidate_letters(question), 0.0)
    for (request, _), table in zip(answers, tables, strict=True):
        whole = math.log(sum(math.exp(value) for value in table.values()) or _FLOOR)
        for name in mean:
            moved = (
                letters[(letters.index(letter) + request.shift) % len(letters)] for letter in name
            )
            mean[name] += (table["".join(sorted(moved))] - whole) / len(tables)
    return mean
