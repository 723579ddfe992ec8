"""A result in a few lines for people, and several seeds of one run as one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sparsedoctor.train.evaluate.statistics import Difference, mean_and_deviation


def summary(result: Mapping[str, Any]) -> str:
    """What `run` prints at its end."""
    lines = [f"{result['title']}: {result['model']['name']}, {_protocol(result['settings'])}"]
    accuracy = result["accuracy"]
    if accuracy is None:
        lines.append(f"  n {result['n']}  {open_figure(result)}")
    else:
        low, high = result["interval"]
        lines.append(
            f"  n {result['n']}  micro {percent(accuracy['micro'])} "
            f"[{percent(low)}, {percent(high)}]  macro {percent(accuracy['macro'])}  "
            f"invalid {percent(result['invalid_rate'])}"
        )
        if "macro_categories" in accuracy:
            lines.append(
                f"  macro-{result['macro_categories_of']} {percent(accuracy['macro_categories'])}"
            )
        baselines = result["baselines"]
        always = baselines["always_one_letter"]
        lines.append(
            f"  chance {percent(baselines['chance'])}  "
            f"always {always['letter']} {percent(always['accuracy'])}"
        )
        if "answer_loss" in result:
            loss = result["answer_loss"]
            lines.append(
                f"  the right answer costs {loss['nats_per_question']:.4f} nats "
                f"(even guessing {loss['even_guessing']:.4f})"
            )
        if "pairwise_accuracy" in result:
            above = _pairwise(result["pairwise_accuracy"])
            lines.append(f"  the right answer is scored {above}, even guessing 50 %")
        if "batch_calibrated" in result:
            calibrated = result["batch_calibrated"]
            low, high = calibrated["interval"]
            lines.append(
                f"  liking for letters taken off: micro {percent(calibrated['accuracy'])} "
                f"[{percent(low)}, {percent(high)}], the right answer costs "
                f"{calibrated['nats_per_question']:.4f} nats, "
                f"{_pairwise(calibrated['pairwise_accuracy'])}"
            )
        if len(result["subjects"]) > 1:
            lines += [
                f"  {name}: {percent(row['accuracy'])} of {row['n']}"
                for name, row in result["subjects"].items()
            ]
        for name, row in result.get("lists", {}).items():
            if name != result["benchmark"]:
                lines.append(
                    f"  list {name}: micro {percent(row['micro'])}, macro {percent(row['macro'])} "
                    f"of {row['n']}"
                )
        for level, row in result.get("levels", {}).items():
            lines.append(
                f"  read {level}: {percent(row['accuracy'])}, "
                f"invalid {percent(row['invalid_rate'])}"
            )
    if "scored_by_fallback" in result:
        lines.append(f"  unreadable, scored as B: {percent(result['scored_by_fallback'])}")
    if result.get("seeds"):
        over = result["over_seeds"]
        spread = f"{over['mean']:.4f} ± {over['deviation']:.4f}"
        lines.append(f"  over {len(result['seeds'])} seeds: {spread}")
    if result.get("questions_per_second"):
        lines.append(f"  {result['questions_per_second']:.2f} questions/s")
    lines += [f"  note: {caveat}" for caveat in result["caveats"]]
    if result["skipped"]:
        lines.append(f"  note: {len(result['skipped'])} rows cannot be scored, see result.json")
    return "\n".join(lines)


def combine_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The first seed's result with each seed's accuracy and their mean and deviation.

    `accuracy` stays that of the first seed, whose answers the interval belongs to.
    """
    first = dict(results[0])
    if first["accuracy"] is None:
        values = [result["loss"]["nats_per_token"] for result in results if "loss" in result]
    else:
        values = [result["accuracy"]["micro"] for result in results]
    mean, deviation = mean_and_deviation(values)
    first["seeds"] = {
        str(result["settings"]["seed"]): value
        for result, value in zip(results, values, strict=True)
    }
    first["over_seeds"] = {"mean": mean, "deviation": deviation}
    return first


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # no "-0.00"


def difference_text(found: Difference, *, digits: int, scale: float = 1.0) -> str:
    """A difference with its interval."""
    bounds = (found.difference, found.low, found.high)
    value, low, high = (signed(scale * one, digits) for one in bounds)
    return f"{value} [{low}, {high}]"


def open_figure(result: Mapping[str, Any]) -> str:
    """The figure of a result without accuracy."""
    if "loss" in result:
        loss = result["loss"]
        return (
            f"loss {loss['nats_per_token']:.4f} nats/token (perplexity {loss['perplexity']:.2f}), "
            f"{loss['bits_per_byte']:.4f} bits/byte"
        )
    return f"ROUGE-L {percent(result['rouge_l'])}"


def _pairwise(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return (
        f"above another one in {percent(figure['mean'])} [{percent(low)}, {percent(high)}] of pairs"
    )


def _protocol(settings: Mapping[str, Any]) -> str:
    parts = [f"{settings['shots']}-shot", settings["scoring"]]
    if settings["candidates"] != "letter":
        parts.append(settings["candidates"])
    if settings["scoring"] == "generate":
        parts.append(settings["level"])
    if settings["compatibility"]:
        parts.append(f"as {settings['compatibility']}")
    return ", ".join(parts)
