"""`sparsedoctor-tui ask`: one question, one answer on standard output.

Standard output carries the answer, and before it what the rules found when that is an emergency
or a crisis; standard error carries everything about the answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from sparsedoctor.app.consultation.assessment import Assessment
from sparsedoctor.app.consultation.consultation import (
    Assessed,
    Consultation,
    ConsultationEvent,
    FollowUp,
)
from sparsedoctor.app.consultation.intake import Intake
from sparsedoctor.app.consultation.language import Language, language_of
from sparsedoctor.app.consultation.numbers import emergency_line, region_of_locale
from sparsedoctor.app.interface_language import AUTO, interface_language
from sparsedoctor.app.labels import labels
from sparsedoctor.app.messages import in_language
from sparsedoctor.app.model_choice import Model, choose_model, engine_for
from sparsedoctor.app.model_server import ModelServer
from sparsedoctor.app.options import sampling_of
from sparsedoctor.app.routing_view import expert_names, expert_shares, why_no_routing
from sparsedoctor.app.turn_view import TurnView
from sparsedoctor.app.wording import (
    facts_of,
    is_alarm,
    language_of_interface,
    leaves_computer,
    model_label,
    numbers_to_call,
    remarks_of,
    urgency_title,
    where_words_go,
    wording,
)
from sparsedoctor.core.engine.protocol import ModelInfo, Notice, TextDelta
from sparsedoctor.core.errors import SparseDoctorError


def run(options: argparse.Namespace) -> int:
    """Answer `options.question`; returns the exit code."""
    question = sys.stdin.read() if options.question == "-" else options.question
    if not question.strip():
        raise SparseDoctorError("nothing was asked; write the question in quotes")
    model = choose_model(options)
    region = options.region or region_of_locale()
    engine = engine_for(model, options)
    _say_where_words_go(model, question, quiet=options.quiet)
    try:
        consultation = Consultation(engine.seat(), region=region, private=True)
        events = consultation.ask(question, sampling_of(options))
        view = _printed(events, stream=not options.no_stream, quiet=options.quiet)
    finally:
        engine.close()
    if not options.quiet:
        language = _language(options, view)
        _print_remarks(view, model, engine.info or model.known(), region, language)
    return 0


def _say_where_words_go(model: Model, question: str, *, quiet: bool) -> None:
    """Before anything is sent; that words leave this computer is said to the quiet as well."""
    if isinstance(model, ModelServer) and (leaves_computer(model) or not quiet):
        print(f"[{where_words_go(model, language_of(question))}]", file=sys.stderr, flush=True)


def _printed(events: Iterable[ConsultationEvent], *, stream: bool, quiet: bool) -> TurnView:
    """Print what belongs to the answer, as it comes or at the end."""
    view, streamed = TurnView(), ""
    try:
        for event in events:
            view = view.apply(event)
            if isinstance(event, Assessed):
                _print_assessment(event.assessment.most_urgent(), quiet=quiet)
            elif isinstance(event, FollowUp) and view.assessment:
                print(wording(view.assessment.language).follow_up)
                print("".join(f"- {question}\n" for question in event.questions), flush=True)
            elif isinstance(event, TextDelta) and stream:
                print(event.text, end="", flush=True)
                streamed += event.text
            elif isinstance(event, Notice) and not quiet:
                spoken = language_of_interface(view.assessment)
                print(in_language(f"note: {event.message}", spoken), file=sys.stderr)
    except SparseDoctorError:
        if view.text:  # what came before the model failed, reviewed
            _print_end(view, streamed, stream=stream)
        raise
    _print_end(view, streamed, stream=stream)
    return view


def _print_end(view: TurnView, streamed: str, *, stream: bool) -> None:
    """What of the answer is not on standard output yet."""
    if not stream:
        print(view.text, end="")
        streamed = view.text
    if not streamed.endswith("\n"):
        print(flush=True)
    if streamed != view.text:
        # Words already on standard output cannot be taken back; what may be shown follows.
        words = wording(language_of_interface(view.assessment))
        print(f"\n[{words.replaced}]\n{view.text}", flush=True)


def _print_assessment(assessment: Assessment, *, quiet: bool) -> None:
    """An alarm belongs to the answer (standard output), milder findings only accompany it."""
    if not is_alarm(assessment):
        if assessment.findings and not quiet:
            print(urgency_title(assessment), file=sys.stderr)
        return
    print(f"*** {urgency_title(assessment)} ***")
    for line in numbers_to_call(assessment):
        print(line)
    for finding in assessment.findings:
        print(f"- {finding.advice}")
    print(flush=True)


def _language(options: argparse.Namespace, view: TurnView) -> Language:
    """Of the remarks: as chosen, else that of the question."""
    if options.language == AUTO:
        return language_of_interface(view.assessment)
    return interface_language(options.language, Intake())


def _print_remarks(
    view: TurnView, model: Model, info: ModelInfo, region: str, language: Language
) -> None:
    lines = remarks_of(view, language, notices=False)  # those were printed as they came
    lines.append(model_label(model, language, info))
    lines.append(emergency_line(region, language))
    if why_not := why_no_routing(info, language):
        lines.append(why_not)
    elif view.routing:
        shares = expert_shares(view.routing, expert_names(model.bundle, model.experts, language))
        reached = ", ".join(f"{one.name} {one.share:.0%}" for one in shares)
        lines.append(f"{labels(language).experts}: {reached}")
    lines.append(wording(language).comma.join(facts_of(view, language)))
    print("".join(f"[{line}]\n" for line in lines if line), end="", file=sys.stderr, flush=True)
