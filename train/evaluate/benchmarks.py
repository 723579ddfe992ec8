"""The benchmarks by name: what reads them, where their authors publish them, what scores them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.train.evaluate.loaders import cmb, cmexam, cmmlu, exam_lines, medquad
from sparsedoctor.train.evaluate.loaders.files import MissingFile
from sparsedoctor.train.evaluate.questions import Language, Question, QuestionSet

Loader = Callable[[Path, str], QuestionSet]
_RAW_CMB = "https://huggingface.co/datasets/FreedomIntelligence/CMB/resolve/main/"
_RAW_CMB_KEY = "https://raw.githubusercontent.com/FreedomIntelligence/CMB/main/data/"
_RAW_CMEXAM = "https://raw.githubusercontent.com/williamliujl/CMExam/main/data/"
_RAW_CMMLU = "https://raw.githubusercontent.com/haonan-li/CMMLU/master/data/"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark. `downloads` maps a path below the data folder to its address."""

    name: str
    title: str
    language: Language
    load: Loader
    published: str
    downloads: Mapping[str, str]
    open_ended: bool = False  # no options: scored by the loss of the reference


def _cmmlu_files(name: str) -> dict[str, str]:
    return {
        f"{split}/{subject}.csv": f"{_RAW_CMMLU}{split}/{subject}.csv"
        for subject in cmmlu.CMMLU_LISTS[name]
        for split in ("dev", "test")
    }


def _cmb_file(*names: str) -> dict[str, str]:
    return {name: _RAW_CMB + name for name in names}


_CMB_TEST = _cmb_file(cmb.QUESTIONS, cmb.VAL) | {cmb.KEY: _RAW_CMB_KEY + cmb.KEY}
_CMEXAM = {f"data/{name}": _RAW_CMEXAM + name for name in ("test_with_annotations.csv", "val.csv")}

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("cmb-exam", "CMB-Exam", "zh", cmb.load_cmb_exam, cmb.PUBLISHED, _CMB_TEST),
        Benchmark("cmb-val", "CMB-val", "zh", cmb.load_cmb_exam, cmb.PUBLISHED, _cmb_file(cmb.VAL)),
        Benchmark(
            "cmb-train", "CMB-train", "zh", cmb.load_cmb_exam, cmb.PUBLISHED, _cmb_file(cmb.TRAIN)
        ),
        Benchmark(
            "cmb-clin",
            "CMB-Clin",
            "zh",
            cmb.load_cmb_clin,
            cmb.PUBLISHED,
            _cmb_file(cmb.CLIN),
            open_ended=True,
        ),
        Benchmark("cmexam", "CMExam", "zh", cmexam.load_cmexam, cmexam.PUBLISHED, _CMEXAM),
        *(
            Benchmark(
                name, f"CMMLU ({name})", "zh", cmmlu.load_cmmlu, cmmlu.PUBLISHED, _cmmlu_files(name)
            )
            for name in cmmlu.CMMLU_LISTS
        ),
        Benchmark(
            "medqa-zh", "MedQA (zh)", "zh", exam_lines.load_medqa, exam_lines.MEDQA_PUBLISHED, {}
        ),
        Benchmark(
            "medqa-us", "MedQA (US)", "en", exam_lines.load_medqa, exam_lines.MEDQA_PUBLISHED, {}
        ),
        Benchmark(
            "medmcqa",
            "MedMCQA (dev)",
            "en",
            exam_lines.load_medmcqa,
            exam_lines.MEDMCQA_PUBLISHED,
            {},
        ),
        Benchmark("mmlu-med", "MMLU, medical", "en", cmmlu.load_mmlu, cmmlu.MMLU_PUBLISHED, {}),
        Benchmark(
            "medquad",
            "MedQuAD",
            "en",
            medquad.load_medquad,
            medquad.PUBLISHED,
            {},
            open_ended=True,
        ),
    )
}
ALIASES = {
    "cmb": "cmb-exam",
    "cmb-test": "cmb-exam",
    "clin": "cmb-clin",
    "cmmlu": "cmmlu-med",
    "mmlu": "mmlu-med",
    "mmlu-medical": "mmlu-med",
    "medqa": "medqa-us",
    "medqa-en": "medqa-us",
    "medqa-usmle": "medqa-us",
    "medqa-mcmle": "medqa-zh",
}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark called `name`; raises SparseDoctorError with the names there are."""
    key = name.lower().replace("_", "-")
    found = BENCHMARKS.get(ALIASES.get(key, key))
    if found is None:
        raise SparseDoctorError(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
    return found


def load_questions(
    benchmark: Benchmark,
    data: Path,
    shots_from: Path | None = None,
    limit: int | None = None,
    *,
    with_reference: bool = False,
) -> QuestionSet:
    """Read a benchmark; `shots_from` names another file of the same layout for examples.

    `with_reference` keeps only questions with an explanation or an authors' answer.
    `limit` keeps that many questions, spread evenly over each subject's file, and always the
    same ones: runs with one limit can be compared pair by pair.
    """
    try:
        loaded = benchmark.load(data, benchmark.name)
    except MissingFile as error:
        offer = " (or run again with --download)" if benchmark.downloads else ""
        raise MissingFile(f"{error}{offer}") from error
    if shots_from is not None:
        loaded = replace(loaded, shots=benchmark.load(shots_from, benchmark.name).questions)
    repeated = [name for name, n in Counter(q.id for q in loaded.questions).items() if n > 1]
    if repeated:
        raise SparseDoctorError(
            f"{data} gives the id {repeated[0]} to several questions; ids must be unique"
        )
    if not loaded.questions:
        reason = f" ({loaded.skipped[0]})" if loaded.skipped else ""
        raise SparseDoctorError(f"{data} holds no question that can be scored{reason}")
    loaded = _without_asked_shots(loaded)
    if with_reference:
        loaded = _with_reference(benchmark, loaded)
    if limit is None or limit >= len(loaded.questions):
        return loaded
    caveat = f"a sample of {limit} of {len(loaded.questions)} questions"
    return replace(
        loaded, questions=spread(loaded.questions, limit), caveats=(*loaded.caveats, caveat)
    )


def _without_asked_shots(loaded: QuestionSet) -> QuestionSet:
    """No example may be a question that is asked: it would tell its own answer."""
    asked = {(question.text, *question.options.values()) for question in loaded.questions}
    shots = [shot for shot in loaded.shots if (shot.text, *shot.options.values()) not in asked]
    if len(shots) == len(loaded.shots):
        return loaded
    caveat = f"{len(loaded.shots) - len(shots)} examples are asked themselves and are left out"
    return replace(loaded, shots=shots, caveats=(*loaded.caveats, caveat))


def _with_reference(benchmark: Benchmark, loaded: QuestionSet) -> QuestionSet:
    kept = [question for question in loaded.questions if question.reference or question.explanation]
    if not kept:
        raise SparseDoctorError(
            f"{benchmark.name} as given has no explanations or references; "
            "--scoring loss needs them"
        )
    left_out = len(loaded.questions) - len(kept)
    if not left_out:
        return loaded
    caveat = f"{left_out} questions without explanation are left out"
    return replace(loaded, questions=kept, caveats=(*loaded.caveats, caveat))


def spread(questions: Sequence[Question], count: int) -> list[Question]:
    """`count` questions at even distances, which keeps the share of every subject."""
    total = len(questions)
    return [questions[i * total // count] for i in range(count)]
