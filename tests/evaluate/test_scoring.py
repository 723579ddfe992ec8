"""What a model's log-probabilities mean, on numbers made by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest

from sparsedoctor.core.engine.protocol import Message
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.questions import Question
from sparsedoctor.train.evaluate.scoring import (
    Settings,
    candidate_letters,
    requests_for,
    verdict_of_scores,
)


def exam(answer: str = "B", options: int = 4, multiple: bool = False) -> Question:
    listed = {"ABCDE"[i]: f"option text {i}" for i in range(options)}
    return Question("q", "Which?", listed, answer, "s", "en", multiple=multiple)


def ask(question: Question, settings: Settings) -> list:  # type: ignore[type-arg]
    return requests_for(question, [], "exam-en", settings)


def test_the_likeliest_letter_is_chosen() -> None:
    (request,) = ask(exam(), Settings())
    assert request.continuations == (" A", " B", " C", " D")
    assert request.messages[-1].content == "The answer is"
    verdict = verdict_of_scores(exam(), [(request, [[-3.0], [-0.5], [-2.0], [-4.0]])], Settings())
    assert verdict.chosen == "B"
    assert verdict.scores == {"A": -3.0, "B": -0.5, "C": -2.0, "D": -4.0}


def test_scores_that_are_all_the_same_choose_nothing() -> None:
    """As from a server that lists none of the letters: no answer, rather than always an A."""
    (request,) = ask(exam(), Settings())
    assert verdict_of_scores(exam(), [(request, [[-9.0]] * 4)], Settings()).chosen == ""


def test_scores_that_are_no_numbers_are_told() -> None:
    (request,) = ask(exam(), Settings())
    with pytest.raises(SparseDoctorError, match="question q are no numbers"):
        verdict_of_scores(exam(), [(request, [[-1.0], [float("nan")], [-2.0], [-3.0]])], Settings())


def test_length_normalisation_matters_for_option_texts() -> None:
    tokens = [[-1.0], [-0.4, -0.4, -0.4, -0.4], [-3.0], [-9.0, -9.0]]
    plain, mean = (
        Settings(candidates="text"),
        Settings(scoring="logprob-mean", candidates="text"),
    )
    (request,) = ask(exam(), plain)
    assert request.continuations[1] == " option text 1"
    assert verdict_of_scores(exam(), [(request, tokens)], plain).chosen == "A"
    assert verdict_of_scores(exam(), [(request, tokens)], mean).chosen == "B"


def test_a_cloze_shows_no_options_and_scores_their_texts() -> None:
    """Its examples answer with the text too, and with every one where several are right."""
    several = exam(answer="AC", multiple=True)
    settings = Settings(candidates="cloze", shots=2)
    (request,) = requests_for(exam(), [exam("D"), several], "exam-en", settings)
    assert [message.content for message in request.messages] == [
        "Which?",
        "The answer is option text 3",
        "Which?",
        "The answer is option text 0, option text 2",
        "Which?",
        "The answer is",
    ]
    assert request.continuations == tuple(f" option text {i}" for i in range(4))
    chinese = replace(exam(), language="zh")
    (request,) = requests_for(chinese, [], "cmmlu", settings)
    assert [message.content for message in request.messages] == ["Which?", "答案是："]
    assert request.continuations[1] == "option text 1"


def test_several_right_options_have_no_cloze() -> None:
    """They are asked with their options, whose letters answer."""
    several = exam(answer="AC", multiple=True)
    pmi = Settings(scoring="logprob-pmi", candidates="cloze")
    assert ask(several, pmi) == ask(several, Settings())


def test_what_a_question_makes_likelier_is_chosen() -> None:
    """C is a common text, likely whatever is asked; the question makes D likelier."""
    settings = Settings(scoring="logprob-pmi", candidates="cloze")
    asked, unasked = ask(exam(), settings)
    assert (asked.unasked, unasked.unasked) == (False, True)
    assert asked.continuations == unasked.continuations
    assert asked.messages[0].content == "Which?"
    assert "Which?" not in unasked.messages[0].content
    tokens = [[-8.0], [-9.0], [-2.0, -0.5], [-6.0]], [[-8.0], [-9.0], [-2.0, -0.5], [-7.5]]
    answers = list(zip((asked, unasked), tokens, strict=True))
    verdict = verdict_of_scores(exam(), answers, settings)
    assert verdict.chosen == "D"
    assert verdict.scores == {"A": 0.0, "B": 0.0, "C": 0.0, "D": 1.5}
    plain = Settings(candidates="cloze")
    assert verdict_of_scores(exam(), answers[:1], plain).chosen == "C"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"scoring": "logprob-pmi"}, "use it with --candidates cloze"),
        ({"scoring": "logprob-pmi", "candidates": "text"}, "use it with --candidates cloze"),
        ({"scoring": "logprob-permuted", "candidates": "cloze"}, "is about letters"),
        ({"scoring": "generate", "candidates": "cloze"}, "has no meaning with generate"),
        ({"compatibility": "cmb", "candidates": "cloze"}, "shows options"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict[str, str], why: str) -> None:
    with pytest.raises(SparseDoctorError, match=why):
        Settings(**settings)  # type: ignore[arg-type]


def test_rotations_cancel_a_preference_for_a_position() -> None:
    """A model that adds 2 nats to whatever stands under C, and knows that text 1 is right."""
    settings = Settings(scoring="logprob-permuted")
    question = exam()
    answers = []
    for request in ask(question, settings):
        shown = question.permuted(request.shift)
        scores = [
            [(2.0 if letter == "C" else 0.0) + (1.0 if text == "option text 1" else 0.0) - 5.0]
            for letter, text in shown.options.items()
        ]
        answers.append((request, scores))
    assert len(answers) == 4
    plain = verdict_of_scores(question, answers[:1], Settings())
    assert plain.chosen == "C"  # the bias wins without rotations
    debiased = verdict_of_scores(question, answers, settings)
    assert debiased.chosen == "B"
    others = [debiased.scores[letter] for letter in "ACD"]
    assert others == [pytest.approx(others[0])] * 3  # the bias is gone altogether


def test_every_text_stands_under_every_letter_once() -> None:
    question = exam(answer="AC")
    seen = {letter: set() for letter in "ABCD"}  # type: ignore[var-annotated]
    for shift in range(4):
        moved = question.permuted(shift)
        assert {moved.options[letter] for letter in moved.answer} == {
            "option text 0",
            "option text 2",
        }
        for letter, text in moved.options.items():
            seen[letter].add(text)
    assert all(len(texts) == 4 for texts in seen.values())


def test_sets_of_letters_are_every_subset() -> None:
    names = candidate_letters(exam(options=5, multiple=True))
    assert len(names) == 2**5 - 1
    assert names[:6] == ("A", "B", "C", "D", "E", "AB")
    assert names[-1] == "ABCDE"


def test_the_score_of_a_set_is_that_of_its_letters_and_no_more() -> None:
    """Letters as single tokens: P(A)=0.9, then B follows with 0.8, then C with 0.1."""
    question = exam(answer="AB", options=3, multiple=True)
    settings = Settings()
    (request,) = ask(question, settings)
    tokens = {
        "A": [log(0.9)],
        "B": [log(0.05)],
        "C": [log(0.05)],
        "AB": [log(0.9), log(0.8)],
        "AC": [log(0.9), log(0.05)],
        "BC": [log(0.05), log(0.5)],
        "ABC": [log(0.9), log(0.8), log(0.1)],
    }
    names = candidate_letters(question)
    verdict = verdict_of_scores(question, [(request, [tokens[name] for name in names])], settings)
    assert verdict.chosen == "AB"
    assert exp(verdict.scores["A"]) == pytest.approx(0.9 * (1 - 0.8 - 0.05))
    assert exp(verdict.scores["AB"]) == pytest.approx(0.9 * 0.8 * 0.9)
    assert exp(verdict.scores["ABC"]) == pytest.approx(0.9 * 0.8 * 0.1)


def test_a_set_that_is_one_token_is_another_event_than_its_first_letter() -> None:
    question = exam(answer="A", options=2, multiple=True)
    (request,) = ask(question, Settings())
    verdict = verdict_of_scores(
        question, [(request, [[log(0.5)], [log(0.1)], [log(0.3)]])], Settings()
    )
    assert exp(verdict.scores["A"]) == pytest.approx(0.5)  # nothing is taken off
    assert verdict.chosen == "A"


def test_the_loss_counts_nats_tokens_and_bytes() -> None:
    question = Question("q", "怎么办？", {}, "", "s", "zh", reference="多喝水")
    settings = Settings(scoring="loss")
    (request,) = requests_for(question, [], "open", settings)
    assert request.continuations == ("多喝水",)
    verdict = verdict_of_scores(question, [(request, [[-1.0, -2.5]])], settings)
    assert verdict.scores == {"nats": 3.5, "tokens": 2.0, "bytes": 9.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"compatibility": "huatuogpt-2"},
        {"candidates": "text", "scoring": "generate"},
        {"candidates": "text", "scoring": "logprob-permuted"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SparseDoctorError, match="--"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_an_explanation_is_due_after_the_right_answer() -> None:
    """The loss asks whether a model could explain an answer, not whether it knows it."""
    question = replace(exam("C"), explanation="Because of its half-life.")
    (request,) = ask(question, Settings(scoring="loss"))
    assert request.messages[-1] == Message("assistant", "The answer is C\n\nExplanation:")
    assert request.continuations == (" Because of its half-life.",)
    several = replace(question, answer="BD", multiple=True, language="zh")
    (request,) = requests_for(several, [], "cmb", Settings(scoring="loss"))
    assert request.messages[-1] == Message("assistant", "答案是：BD\n\n解析：")
    case = replace(question, options={}, answer="", reference="Rest.")
    (request,) = requests_for(case, [], "open", Settings(scoring="loss"))
    assert [message.role for message in request.messages] == ["user"]


def test_generation_begins_no_answer() -> None:
    (request,) = ask(exam(), Settings(scoring="generate"))
    assert [message.role for message in request.messages] == ["user"]
