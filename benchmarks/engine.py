"""The engine's speed: against plain llama-cpp-python, between turns, in cancelling, in bandwidth.

    python benchmarks/engine.py [--model default] [--base smollm2] [--json]

Everything is measured in one run and interleaved, so that another program's load falls on both
sides alike. Prints a line for each measurement; with --json the last line is one object:

    generate_over_plain    tokens/s with the routing trace on, over the plain loop's
    second_turn_over_cold  time to first token with the first turn in memory, over without
    cancel_decode_ms       {median, worst}: from cancel() to Finished, while generating
    cancel_prefill_ms      {median, worst}: the same in the middle of a 2,000-token prompt
    bandwidth_share        {moe, base}: bytes of active weights a second over a streaming read's
    load_s                 from a new engine to ready, file in the page cache (median of 3)
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsedoctor.core.base_models import find_base
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import (
    EngineSettings,
    Finished,
    Message,
    Sampling,
    Started,
    TextDelta,
)
from sparsedoctor.core.engine.threads import default_threads, usable_cores
from sparsedoctor.core.errors import run_command
from sparsedoctor.core.gguf_header import read_header
from sparsedoctor.core.models import find_model

CONTEXT, BATCH = 4096, 256
SYSTEM = (
    "You are a careful assistant for questions about health. Answer in plain words, say what is "
    "not certain, and tell when a doctor should be seen. The person is 44 years old, takes "
    "ramipril for high blood pressure, and is allergic to penicillin. "
)
FIRST = "I have had a cough and a blocked nose for five days, without fever. What helps, and when "
FIRST += "should I see somebody about it?"
SECOND = "And may I take ibuprofen with my other medicine?"
PAGE = "On day {n} the patient reports a cough, a headache and poor sleep. "


def main() -> int:
    options = _options()
    threads = options.threads or default_threads()
    model, base = find_model(options.model), find_base(options.base)
    measured: dict[str, Any] = {}
    settings = EngineSettings(context=CONTEXT, threads=threads, batch=BATCH)

    loads = [_load_seconds(model, settings) for _ in range(3)]
    measured["load_s"] = round(statistics.median(loads), 3)
    say("load to ready", f"{measured['load_s']:.2f} s")

    engine = ChildEngine(model, settings)
    info = engine.load()
    print(
        f"{info.name}: {info.size / 1e6:.0f} MB, {threads} thread(s), trace {info.routing_traced}"
    )
    rates = _against_plain(engine, model, threads, options)
    measured["generate_over_plain"] = round(statistics.median(r.ours / r.plain for r in rates), 4)
    ours = statistics.median(rate.ours for rate in rates)
    plain = statistics.median(rate.plain for rate in rates)
    say("generate", f"{ours:.1f} tokens/s, plain loop {plain:.1f}, "
        f"ratio {measured['generate_over_plain']:.3f}")  # fmt: skip

    warm, cold = _turns(engine, options.rounds)
    measured["second_turn_over_cold"] = round(warm / cold, 4)
    say("second turn", f"{warm * 1e3:.0f} ms to the first token, {cold * 1e3:.0f} ms cold")

    for name, one in (("decode", _cancel_decode), ("prefill", _cancel_prefill(engine))):
        times = [one(engine, number) * 1e3 for number in range(options.cancels)]
        key = f"cancel_{name}_ms"
        median, worst = statistics.median(times), max(times)
        measured[key] = {"median": round(median, 2), "worst": round(worst, 2)}
        say(f"cancel in {name}", f"median {median:.1f} ms, worst {worst:.1f} ms of {len(times)}")
    engine.close()

    other = ChildEngine(base, settings)
    other.load()
    dense = statistics.median(
        _rate(other, options.tokens, number) for number in range(options.rounds)
    )
    other.close()
    read = _read_bandwidth()
    measured["bandwidth_share"] = {
        "moe": round(ours * active_bytes(model) / read, 4),
        "base": round(dense * active_bytes(base) / read, 4),
    }
    say("streaming read", f"{read / 1e9:.1f} GB/s with {usable_cores()} thread(s)")
    for name, path, rate in (("moe", model, ours), ("base", base, dense)):
        share = measured["bandwidth_share"][name]
        say(f"bandwidth, {name}", f"{active_bytes(path) / 1e6:.0f} MB a token x {rate:.1f} "
            f"tokens/s = {share:.0%} of it")  # fmt: skip
    if options.json:
        print(json.dumps(measured))
    return 0


def say(what: str, value: str) -> None:
    print(f"{what:20} {value}", flush=True)


def active_bytes(path: Path) -> int:
    """Bytes of weights that one token reads: all but the embedding table, of the experts those
    that are used, and the embedding table after all where it is the output layer as well."""
    header = read_header(path)
    experts = header.metadata.get(f"{header.architecture}.expert_count", 0)
    used = header.metadata.get(f"{header.architecture}.expert_used_count", 0)
    whole = 0
    for name, tensor in header.tensors.items():
        if name == "token_embd.weight" and "output.weight" in header.tensors:
            continue
        whole += tensor.size * used // experts if "_exps." in name else tensor.size
    return whole


@dataclass(frozen=True, slots=True)
class Rates:
    ours: float  # tokens/s
    plain: float


def _load_seconds(path: Path, settings: EngineSettings) -> float:
    began = time.perf_counter()
    engine = ChildEngine(path, settings)
    engine.load()
    seconds = time.perf_counter() - began
    engine.close()
    return seconds


def _against_plain(
    engine: ChildEngine, path: Path, threads: int, options: argparse.Namespace
) -> list[Rates]:
    """Both loops in turn, greedy, on the same prompt; which one is first alternates."""
    from llama_cpp import Llama  # the plain loop is llama-cpp-python's own

    llm = Llama(
        str(path), n_ctx=CONTEXT, n_batch=BATCH, n_ubatch=BATCH,
        n_threads=threads, n_threads_batch=threads, verbose=False,
    )  # fmt: skip
    prompt = f"<|im_start|>user\n{FIRST}<|im_end|>\n<|im_start|>assistant\n"
    tokens = engine.tokenize(prompt, control=True)
    rates = []
    for number in range(options.rounds):
        turns: list[tuple[str, Callable[[], float]]] = [
            ("ours", lambda: _rate(engine, options.tokens, 0)),
            ("plain", lambda: _plain_rate(llm, tokens, options.tokens)),
        ]
        found = {name: turn() for name, turn in (turns if number % 2 else turns[::-1])}
        rates.append(Rates(**found))
    llm.close()
    return rates


def _plain_rate(llm: Any, tokens: Sequence[int], count: int) -> float:
    """Tokens a second of llama-cpp-python's loop, after the first, with its text."""
    llm.reset()
    written, text = 0, b""
    began = time.perf_counter()
    for token in llm.generate(tokens, temp=0.0, repeat_penalty=1.0):
        if written == 0:
            began = time.perf_counter()
        written += 1
        text += llm.detokenize([token])
        if written == count or token == llm.token_eos():
            break
    return (written - 1) / (time.perf_counter() - began)


def _rate(engine: ChildEngine, count: int, number: int) -> float:
    """Tokens a second of the engine after the first, seen from outside its process."""
    sampling = Sampling(temperature=0.0, repeat_penalty=1.0, max_tokens=count, seed=number)
    first = 0.0
    for event in engine.generate([Message("user", FIRST)], sampling):
        if isinstance(event, TextDelta) and not first:
            first = time.perf_counter()
        if isinstance(event, Finished):
            return (event.statistics.answer_tokens - 1) / (time.perf_counter() - first)
    raise AssertionError("an answer without end")


def _turns(engine: ChildEngine, rounds: int) -> tuple[float, float]:
    """Median seconds to the first token of a second turn: with the first in memory, and cold."""
    sampling = Sampling(temperature=0.0, repeat_penalty=1.0, max_tokens=96)
    warm, cold = [], []
    for _ in range(rounds):
        messages = [Message("system", SYSTEM), Message("user", FIRST)]
        answer = _finish(engine.generate(messages, sampling)).text
        messages += [Message("assistant", answer), Message("user", SECOND)]
        warm.append(_finish(engine.generate(messages, sampling)).statistics.first_token_seconds)
        _finish(engine.generate([Message("user", "Hello")], Sampling(max_tokens=2)))
        last = _finish(engine.generate(messages, sampling))
        if last.statistics.reused_tokens > 8:
            raise AssertionError("the cold turn was not cold")
        cold.append(last.statistics.first_token_seconds)
    return statistics.median(warm), statistics.median(cold)


def _cancel_decode(engine: ChildEngine, number: int) -> float:
    """Seconds from cancel() to Finished, after a few tokens, at any moment between two."""
    chance = random.Random(number)
    sampling = Sampling(temperature=1.0, repeat_penalty=1.0, max_tokens=3000, seed=number)
    delay = chance.uniform(0.0, 0.1)
    while True:
        stream = engine.generate([Message("user", "Tell me a long story.")], sampling)
        while not isinstance(next(stream), TextDelta):
            pass
        if seconds := _cancelled(engine, stream, delay):
            return seconds
        delay /= 2


def _cancel_prefill(engine: ChildEngine) -> Callable[[ChildEngine, int], float]:
    """The same while a prompt of some 2,000 tokens is read, within the first seconds of it."""

    def pages(number: int) -> list[Message]:
        text = f"Case {number}. "
        while len(engine.tokenize(text)) < 2000:
            text += "".join(PAGE.format(n=n) for n in range(len(text) % 97, len(text) % 97 + 8))
        return [Message("user", text)]

    whole = _finish(engine.generate(pages(-1), Sampling(max_tokens=1))).statistics
    say("prefill", f"{whole.prompt_tokens} tokens in {whole.first_token_seconds:.2f} s")

    def one(engine: ChildEngine, number: int) -> float:
        delay = random.Random(number).uniform(0.1, min(3.0, 0.8 * whole.first_token_seconds))
        while True:
            stream = engine.generate(pages(number), Sampling(max_tokens=100))
            while not isinstance(next(stream), Started):
                pass
            if seconds := _cancelled(engine, stream, delay):
                return seconds
            delay /= 2

    return one


def _cancelled(engine: ChildEngine, stream: Iterator[Any], delay: float) -> float | None:
    """Seconds from cancel() to Finished; None when the answer was ready before."""
    asked = [0.0]

    def cancel() -> None:
        time.sleep(delay)
        asked[0] = time.perf_counter()
        engine.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    finished = _finish(stream)
    seconds = time.perf_counter() - asked[0]
    thread.join()
    return seconds if finished.reason == "cancelled" else None


def _finish(stream: Iterator[Any]) -> Finished:
    for event in stream:
        if isinstance(event, Finished):
            return event
    raise AssertionError("an answer without end")


def _read_bandwidth() -> float:
    """Bytes a second of a streaming read by all usable cores: the best of several passes."""
    parts = usable_cores()
    arrays = [np.ones((256 << 20) // 8, dtype=np.int64) for _ in range(parts)]
    best = 0.0
    with ThreadPoolExecutor(parts) as pool:
        for _ in range(8):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, arrays))
            best = max(best, sum(a.nbytes for a in arrays) / (time.perf_counter() - began))
    return best


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the engine.")
    parser.add_argument("--model", default="default", help="a mixture-of-experts GGUF")
    parser.add_argument("--base", default="smollm2", help="its dense base, as GGUF")
    parser.add_argument("--threads", type=int, help="default: physical cores - 1")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tokens", type=int, default=128, help="of each measured answer")
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(run_command(main))
