"""The rows of `eval_table.py` and its tracks: what is trained, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EXPERTS, TOP_K, RANK = 4, 2, 8
# AdamW moves what a pair computes by about alpha times the learning rate at each step, whatever
# its rank. So an expert and every dense LoRA get one alpha, that of rank E * r; with that of its
# own rank an expert would learn E times more slowly. A shared pair has it too, and the experts
# beside it half of it.
ALPHA = 2 * EXPERTS * RANK
# Every expert also uses a third of the others' update, and the router learns twenty times as fast
# as the experts: what training does unless it is told otherwise.
SHAPE = (
    *("--experts", str(EXPERTS), "--top-k", str(TOP_K)),
    *("--rank", str(RANK), "--alpha", str(ALPHA)),
    *("--sharing", "0.3333", "--router-rate", "20"),
)
NO_CONTRAST = ("--contrast-weight", "0", "--route-weight", "0")
SHARED = (
    *("--rank", str(RANK // 2), "--alpha", str(ALPHA // 2)),
    *("--shared-rank", str(EXPERTS * RANK // 2), "--shared-alpha", str(ALPHA)),
)
# Compared with the memory alone, contrast and route wait for it and warm up.
MEMORY = ("--no-batch-keys",)
# The router goes by the subjects that the memory holds. Few tokens of a step enter it, so that it
# reaches back over many steps.
SUBJECTS = (
    *MEMORY,
    *("--route-target", "subjects", "--route-weight", "0.3"),
    *("--queries", "64", "--queue-length", "512"),
)
# And no longer so once they have parted: the language model alone leads the second half.
RELEASED = (*SUBJECTS, "--release-steps", "150")
# Without sharing, and with a router that learns as fast as the experts.
SLOW_ROUTER = ("--router-rate", "1")
PLAIN = ("--sharing", "0", *SLOW_ROUTER)
# Sharing lets a token move by every pair, as a higher alpha lets it move further: rows with such an
# alpha and no sharing.
HIGHER = 2 * ALPHA

REFERENCE = "sparsedoctor"  # the row that the others are tested against
UNTRAINED = "untrained"  # what stands for the seed in the base's folder


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    title: str
    dense_rank: int = 0  # a dense LoRA of this rank
    alpha: int = ALPHA  # of a dense LoRA
    flags: tuple[str, ...] | None = None  # of sparsedoctor-train

    def folder(self, seed: int) -> str:
        """Where its results with a seed lie, below the table's folder."""
        learned = self.dense_rank or self.flags is not None
        return f"{self.name}/seed-{seed}" if learned else f"{self.name}/{UNTRAINED}"


# The seven rows of the comparison and the fairest dense one: trained unless others are named.
MAIN_ROWS = (
    Row("base", "untouched base"),
    Row("dense-parameters", "dense LoRA, as many parameters", dense_rank=EXPERTS * RANK),
    Row(
        "dense-higher",
        f"dense LoRA, as many parameters, alpha {HIGHER}",
        dense_rank=EXPERTS * RANK,
        alpha=HIGHER,
    ),
    Row("dense-active", "dense LoRA, as many active", dense_rank=TOP_K * RANK),
    Row("moe", "LoRA-MoE without contrast", flags=NO_CONTRAST),
    Row("moe-in-batch", "LoRA-MoE, contrast within the batch", flags=("--queue-length", "0")),
    Row("sparsedoctor", "SparseDoctor: contrast, route, queue", flags=()),
    Row(
        "moe-frozen-router",
        "LoRA-MoE, random frozen router",
        flags=(*NO_CONTRAST, "--freeze-router"),
    ),
)
ROWS = (
    *MAIN_ROWS,
    Row("moe-shared", "LoRA-MoE without contrast, shared pair", flags=(*NO_CONTRAST, *SHARED)),
    Row("sparsedoctor-shared", "SparseDoctor, shared pair", flags=SHARED),
    Row("sparsedoctor-subjects", "SparseDoctor, experts by subject", flags=SUBJECTS),
    Row(
        "sparsedoctor-released",
        "SparseDoctor, experts by subject, released after 150 steps",
        flags=RELEASED,
    ),
    # What the keys of the batch are worth, and the first steps.
    Row("sparsedoctor-memory", "SparseDoctor, keys of the memory alone", flags=MEMORY),
    Row(
        "sparsedoctor-memory-early",
        "SparseDoctor, keys of the memory alone, from the first step",
        flags=(*MEMORY, "--warmup-steps", "0"),
    ),
    # What sharing and the router's rate are worth: "plain" is without either.
    Row(
        "moe-slow-router",
        "LoRA-MoE without contrast, slow router",
        flags=(*NO_CONTRAST, *SLOW_ROUTER),
    ),
    Row(
        "sparsedoctor-slow-router",
        "SparseDoctor, keys of the memory alone, slow router",
        flags=(*MEMORY, *SLOW_ROUTER),
    ),
    Row("moe-plain", "LoRA-MoE without contrast, plain", flags=(*NO_CONTRAST, *PLAIN)),
    Row(
        "sparsedoctor-plain",
        "SparseDoctor, keys of the memory alone, plain",
        flags=(*MEMORY, *PLAIN),
    ),
    Row(
        "moe-plain-higher",
        f"LoRA-MoE without contrast, plain, alpha {HIGHER}",
        flags=(*NO_CONTRAST, *PLAIN, "--alpha", str(HIGHER)),
    ),
)


@dataclass(frozen=True, slots=True)
class Track:
    """What is learned, what is scored, whose loss is measured; paths below the data."""

    training: tuple[str, ...]
    benchmarks: tuple[tuple[str, str], ...]  # (name, path)
    loss: tuple[str, str]
    # Of exam questions: "letters", right answers alone, spread evenly over the letters; "cloze",
    # right options' texts, the options not shown. Questions are then scored in the same way.
    form: Literal["whole", "letters", "cloze"] = "whole"


_CHINESE_EXAMS = (
    ("cmmlu-med-apollo", "eval/cmmlu"),
    ("cmexam", "eval/cmexam_dev.csv"),
    ("medqa-zh", "eval/medqa_zh_test.jsonl.gz"),
)
TRACKS = {
    "zh": Track(
        (
            "train/cn_exam_train.jsonl.gz",
            "train/huatuo_instructions.jsonl.gz",
            "train/cmtmedqa_multiturn.jsonl.gz",
        ),
        _CHINESE_EXAMS,
        ("cmexam", "eval/cmexam_dev.csv"),
    ),
    "zh-exam": Track(
        ("train/cn_exam_train.jsonl.gz",),
        _CHINESE_EXAMS,
        ("cmexam", "eval/cmexam_dev.csv"),
        form="letters",
    ),
    "zh-cloze": Track(
        ("train/cn_exam_train.jsonl.gz",),
        _CHINESE_EXAMS,
        ("cmexam", "eval/cmexam_dev.csv"),
        form="cloze",
    ),
    "en": Track(
        ("train/en_exam_train.jsonl.gz", "train/medquad_train.jsonl.gz"),
        (("mmlu-med", "eval/mmlu_med_test.jsonl.gz"), ("medmcqa", "eval/medmcqa_dev.jsonl.gz")),
        ("medquad", "eval/medquad_dev.jsonl.gz"),
    ),
}
