"""`result.json`: the figures of a run with their doubt, and all that is needed to repeat it."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from sparsedoctor.train.evaluate.answers import LEVELS
from sparsedoctor.train.evaluate.backends.backend import ModelRecord
from sparsedoctor.train.evaluate.benchmarks import Benchmark
from sparsedoctor.train.evaluate.journal import Answer, answers_hash
from sparsedoctor.train.evaluate.letter_bias import is_liking_for_letters, without_letter_bias
from sparsedoctor.train.evaluate.loaders.cmmlu import CMMLU_LISTS
from sparsedoctor.train.evaluate.overlap import rouge_l
from sparsedoctor.train.evaluate.questions import Question, QuestionSet
from sparsedoctor.train.evaluate.scoring import Settings
from sparsedoctor.train.evaluate.statistics import (
    Tally,
    always_one_letter,
    answer_nats,
    chance,
    macro,
    macro_categories,
    micro,
    paired_bootstrap,
    pairwise_accuracy,
    tally,
    wilson,
)

FORMAT_VERSION = "1.0"


def result_of(
    benchmark: Benchmark,
    loaded: QuestionSet,
    settings: Settings,
    wording: str,
    model: ModelRecord,
    answers: Sequence[Answer],
    hashes: Mapping[str, str],
    *,
    answered_now: int,
    seconds: float,
) -> dict[str, Any]:
    """The document of a finished run; `answers` are in the order of `loaded.questions`."""
    result: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "n": len(answers),
    }
    if benchmark.open_ended or settings.scoring == "loss":
        result |= {"accuracy": None, "interval": None, "invalid_rate": None}
        result |= _open_figures(loaded.questions, answers, settings)
    else:
        result |= exam_figures(loaded.questions, answers)
        if settings.scoring == "generate":
            result["levels"] = _levels(answers)
        else:
            result["pairwise_accuracy"] = _pairwise(answers)
        if settings.scoring in ("logprob", "logprob-permuted", "logprob-pmi"):
            result["answer_loss"] = _answer_loss(answers)
            if is_liking_for_letters(settings.scoring, settings.candidates):
                result["batch_calibrated"] = _batch_calibrated(answers)
        if settings.compatibility == "huatuogpt-2":
            result["scored_by_fallback"] = fmean(
                not (answer.readings or {}).get(settings.compatibility) for answer in answers
            )
    return result | {
        "model": asdict(model),
        "settings": asdict(settings) | {"wording": wording},
        "hashes": {**hashes, "answers": answers_hash(answers)},
        "versions": dict(model.versions),
        "caveats": list(loaded.caveats) + _caveats(settings),
        "skipped": list(loaded.skipped),
        "seconds": round(seconds, 2),
        "questions_per_second": round(answered_now / seconds, 3) if seconds > 0 else None,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def exam_figures(questions: Sequence[Question], answers: Sequence[Answer]) -> dict[str, Any]:
    """Accuracy, interval, invalid rate, rows and baselines. Pure."""
    correct = {answer.id: answer.correct for answer in answers}
    rows = tally(questions, correct)
    right = sum(correct.values())
    letters = always_one_letter(questions)
    best = max(letters, key=lambda letter: letters[letter])
    figures: dict[str, Any] = {
        "accuracy": {"micro": micro(rows), "macro": macro(rows)},
        "interval": list(wilson(right, len(answers))),
        "interval_of": "micro accuracy, Wilson, 95 %",
        "invalid_rate": sum(answer.chosen is None for answer in answers) / len(answers),
        "correct": right,
        "subjects": {name: _row(row) for name, row in rows.items()},
        "baselines": {
            "chance": chance(questions),
            "always_one_letter": {"letter": best, "accuracy": letters[best], "all": letters},
        },
        "chosen_letters": dict(sorted(Counter(answer.chosen or "" for answer in answers).items())),
    }
    categories = macro_categories(questions, correct)
    if categories is not None:
        count = len({question.category for question in questions})
        figures["accuracy"]["macro_categories"] = categories
        figures["categories"] = _groups(questions, correct, "category")
        figures["macro_categories_of"] = count  # 6 make CMB's published average
    if any(question.multiple for question in questions):
        kinds = {True: "several right options", False: "one right option"}
        figures["kinds"] = {
            kinds[multiple]: _row(_tally([q for q in questions if q.multiple is multiple], correct))
            for multiple in (False, True)
        }
    labels = sorted({name for question in questions for name in question.labels})
    if labels and questions[0].id.startswith("cmexam"):
        figures["annotations"] = {name: _by_label(questions, correct, name) for name in labels}
    lists = {
        name: {
            "n": sum(rows[subject].n for subject in subjects),
            "micro": micro({subject: rows[subject] for subject in subjects}),
            "macro": macro({subject: rows[subject] for subject in subjects}),
        }
        for name, subjects in CMMLU_LISTS.items()
        if set(subjects) <= set(rows) and questions[0].id.startswith("cmmlu")
    }
    return figures | ({"lists": lists} if lists else {})


def _row(row: Tally) -> dict[str, Any]:
    return {
        "n": row.n,
        "correct": row.correct,
        "accuracy": row.accuracy,
        "interval": list(wilson(row.correct, row.n)),
    }


def _tally(questions: Sequence[Question], correct: Mapping[str, bool]) -> Tally:
    return Tally(len(questions), sum(correct[question.id] for question in questions))


def _groups(
    questions: Sequence[Question], correct: Mapping[str, bool], by: str
) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(getattr(question, by) for question in questions)
    return {
        name: _row(_tally([q for q in questions if getattr(q, by) == name], correct))
        for name in names
    }


def _by_label(
    questions: Sequence[Question], correct: Mapping[str, bool], label: str
) -> dict[str, dict[str, Any]]:
    values = dict.fromkeys(q.labels[label] for q in questions if label in q.labels)
    return {
        value: _row(_tally([q for q in questions if q.labels.get(label) == value], correct))
        for value in values
    }


def _answer_loss(answers: Sequence[Answer]) -> dict[str, float]:
    """What the right answer costs among those that were scored, and what even guessing would."""
    return {
        "nats_per_question": fmean(answer_nats(answer.scores, answer.gold) for answer in answers),
        "even_guessing": fmean(math.log(len(answer.scores)) for answer in answers),
    }


def _pairwise(answers: Sequence[Answer]) -> dict[str, Any]:
    """How often the right answer is scored above another one, and whether a guess would be."""
    guess = 0.5
    above = [pairwise_accuracy(answer.scores, answer.gold) for answer in answers]
    found = paired_bootstrap([[value - guess for value in above]])
    return {
        "mean": fmean(above),
        "interval": [guess + found.low, guess + found.high],
        "even_guessing": guess,
        "p": found.p,
    }


def _batch_calibrated(answers: Sequence[Answer]) -> dict[str, Any]:
    """The same figures with the model's liking for a letter taken off."""
    calibrated = without_letter_bias(answers)
    right = sum(answer.correct for answer in calibrated)
    return {
        "accuracy": right / len(calibrated),
        "interval": list(wilson(right, len(calibrated))),
        "nats_per_question": _answer_loss(calibrated)["nats_per_question"],
        "pairwise_accuracy": _pairwise(calibrated),
    }


def _levels(answers: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """Accuracy and invalid rate of the same answers at each level of strictness."""
    levels = {}
    for level in LEVELS:
        read = [(answer.readings or {}).get(level, "") for answer in answers]
        levels[level] = {
            "accuracy": fmean(
                letters == answer.gold for letters, answer in zip(read, answers, strict=True)
            ),
            "invalid_rate": fmean(not letters for letters in read),
        }
    return levels


def _open_figures(
    questions: Sequence[Question], answers: Sequence[Answer], settings: Settings
) -> dict[str, Any]:
    """Loss of the references, or (when the model wrote answers) their overlap with them."""
    if settings.scoring == "generate":
        overlaps = [
            rouge_l(answer.text or "", question.reference)
            for question, answer in zip(questions, answers, strict=True)
        ]
        return {"rouge_l": fmean(overlaps)}
    totals = {name: sum(answer.scores[name] for answer in answers) for name in answers[0].scores}
    per_token = totals["nats"] / totals["tokens"]
    return {
        "loss": {
            "nats_per_token": per_token,
            "perplexity": math.exp(per_token),
            "bits_per_byte": totals["nats"] / totals["bytes"] / math.log(2),
            "tokens": int(totals["tokens"]),
        }
    }


def _caveats(settings: Settings) -> list[str]:
    if settings.compatibility == "huatuogpt-2":
        return ['unreadable answers are scored as "B" (compatibility huatuogpt-2)']
    if settings.compatibility == "cmb":
        return ["options of one character are not shown (compatibility cmb)"]
    return []
