"""What a number format costs in quality and gives in speed: files beside their float32 export.

    python benchmarks/export_quality.py f32.gguf q8_0.gguf ... --data medquad_dev.jsonl.gz

Held-out answers (MedQuAD questions of topics that no training row has) are read behind their
question in the model's own template; perplexity, KL divergence from float32, top-1 agreement and
the share of the same experts are those of the answers' tokens. The first file is the reference.
Tokens a second are the best of several answers, the files in turn, so that another program's load
falls on all of them alike. `export.py --quality` does the same with every format of an export.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.protocol import EngineSettings, Finished, Message, Sampling
from sparsedoctor.core.engine.templates import Control, Text, find_template
from sparsedoctor.core.engine.threads import usable_cores
from sparsedoctor.core.errors import run_command
from sparsedoctor.export.compare import difference, join, log_softmax, routing_agreement
from sparsedoctor.export.references import open_engine

Logits = NDArray[np.float32]
ANSWER_TOKENS = 192  # read of each answer at most
QUESTION = "What can I do against a cold, and when should I see a doctor?"
HEADER = "| file | MB | tokens/s | perplexity | KL | top-1 | routing | relative error |"


@dataclass(frozen=True, slots=True)
class Quality:
    """Of a file over all answers, the reference beside it."""

    tokens: int
    perplexity: float
    kl: float  # nats, mean
    agreement: float
    routing: float
    relative_error: float

    def row(self) -> str:
        """As in HEADER, from the perplexity on."""
        return (
            f" {self.perplexity:.3f} | {self.kl:.1e} | {self.agreement:.1%} | "
            f"{self.routing:.1%} | {self.relative_error:.1e} |"
        )


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One answer behind its question: the tokens, and which of them is the answer's first."""

    tokens: list[int]
    answer: int


def main() -> int:
    """Compare the files named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="GGUF files, the float32 one first")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines: question, answer")
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="answers timed per file; 0: none")
    options = parser.parse_args()
    found = qualities(options.files, options.data, options.answers)
    speeds = rates(options.files, options.rounds)
    print(f"{options.answers} answers, {found[0].tokens} tokens\n{HEADER}")
    print("|---" * 8 + "|")
    for file, quality, rate in zip(options.files, found, speeds, strict=True):
        size = file.stat().st_size / 1e6
        print(f"| {file.stem} | {size:.0f} | {rate:.0f} |{quality.row()}")
    return 0


def qualities(files: Sequence[Path], data: Path, answers: int) -> list[Quality]:
    """Each file beside the first. The reference's logits wait on the disk meanwhile."""
    found: list[Quality] = []
    with tempfile.TemporaryDirectory(dir=files[0].parent) as spool:
        for file in files:
            found.append(_quality(file, data, answers, Path(spool), reference=not found))
            print(f"{file.stem}:{found[-1].row()}", file=sys.stderr, flush=True)
    return found


def rates(files: Sequence[Path], rounds: int, tokens: int = 96) -> list[float]:
    """Tokens a second of each file, the best of `rounds` answers; 0 without rounds."""
    best = [0.0] * len(files)
    sampling = Sampling(temperature=0.0, max_tokens=tokens, seed=1)
    settings = EngineSettings(context=512, threads=usable_cores())
    for _ in range(rounds):
        for number, file in enumerate(files):
            engine = ChildEngine(file, settings)
            try:
                *_, last = engine.generate([Message("user", QUESTION)], sampling)
            finally:
                engine.close()
            assert isinstance(last, Finished)
            best[number] = max(best[number], last.statistics.tokens_per_second)
    return best


def read_answers(data: Path, count: int) -> list[tuple[str, str]]:
    """`count` questions with their answers, spread evenly over the file."""
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    step = max(1, len(rows) // count)
    return [(row["question"], row["answer"]) for row in rows[::step][:count]]


def held_out(engine: ChildEngine, question: str, answer: str, most: int) -> HeldOut:
    """The tokens of a question in the model's template and of at most `most` of its answer."""
    tokens, text = [], ""
    for segment in [
        *find_template(engine.load().template).write([Message("user", question)]), Control("")
    ]:  # fmt: skip
        if isinstance(segment, Text):
            text += segment.text
            continue
        tokens += engine.tokenize(text)
        text = ""
        tokens += engine.tokenize(segment.text, control=True) if segment.text else []
    return HeldOut([*tokens, *engine.tokenize(answer)[:most]], len(tokens))


def _quality(file: Path, data: Path, answers: int, spool: Path, *, reference: bool) -> Quality:
    parts, ours, theirs, losses = [], [], [], []
    engine = open_engine(file)
    try:
        for number, (question, answer) in enumerate(read_answers(data, answers)):
            text = held_out(engine, question, answer, ANSWER_TOKENS)
            found = engine.evaluate(text.tokens)
            rows = slice(text.answer - 1, -1)  # each position gives the next token
            logits = found.logits[rows]
            expected = text.tokens[text.answer :]
            logs = log_softmax(logits.astype(np.float64))
            losses.append(-logs[np.arange(len(expected)), expected])
            kept = spool / f"{number}.npz"
            assert found.experts is not None, "the file has no experts"
            if reference:
                np.savez(kept, logits=logits, experts=found.experts)
            with np.load(kept) as exact:
                parts.append(difference(exact["logits"], logits))
                theirs.append(exact["experts"][text.answer :])
            ours.append(found.experts[text.answer :])
    finally:
        engine.close()
    joined = join(parts)
    nats = np.concatenate(losses)
    routing = routing_agreement(np.concatenate(theirs), np.concatenate(ours))
    return Quality(
        len(nats), math.exp(float(nats.mean())), joined.mean_kl, joined.agreement,
        float(routing.mean()), joined.relative_error,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(run_command(main))
