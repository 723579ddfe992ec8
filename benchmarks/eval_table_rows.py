"""The rows of `eval_table.py` and its two languages: what is trained, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass

EXPERTS, TOP_K, RANK = 4, 2, 8
# AdamW moves what a pair computes by about alpha times the learning rate at each step, whatever
# its rank. So an expert and every dense LoRA get one alpha, that of rank E * r; with that of its
# own rank an expert would learn E times more slowly. A shared pair has it too, and the experts
# beside it half of it.
ALPHA = 2 * EXPERTS * RANK
SHAPE = (
    *("--experts", str(EXPERTS), "--top-k", str(TOP_K)),
    *("--rank", str(RANK), "--alpha", str(ALPHA)),
    *("--sharing", "0", "--router-rate", "1"),  # as the first rows were measured
)
NO_CONTRAST = ("--contrast-weight", "0", "--route-weight", "0")
SHARED = (
    *("--rank", str(RANK // 2), "--alpha", str(ALPHA // 2)),
    *("--shared-rank", str(EXPERTS * RANK // 2), "--shared-alpha", str(ALPHA)),
)
# Every expert uses a third of the others' update as well.
SHARING = ("--sharing", "0.3333")
# Sharing, and a router that learns twenty times as fast as the experts: what training does unless
# it is told otherwise.
TUNED = (*SHARING, "--router-rate", "20")
# Sharing lets a token move by every pair, as a higher alpha lets it move further: rows with such an
# alpha and no sharing.
HIGHER = 2 * ALPHA
# The router goes by the subjects that the memory holds. Few tokens of a step enter it, so that it
# reaches back over many steps.
SUBJECTS = (
    *("--route-target", "subjects", "--route-weight", "0.3"),
    *("--queries", "64", "--queue-length", "512"),
)
# And no longer so once they have parted: the language model alone leads the second half.
RELEASED = (*SUBJECTS, "--release-steps", "150")

REFERENCE = "sparsedoctor-tuned"  # the row that the others are tested against
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


ROWS = (
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
    Row(
        "moe-higher",
        f"LoRA-MoE without contrast, alpha {HIGHER}",
        flags=(*NO_CONTRAST, "--alpha", str(HIGHER)),
    ),
    Row("moe-shared", "LoRA-MoE without contrast, shared pair", flags=(*NO_CONTRAST, *SHARED)),
    Row("sparsedoctor-shared", "SparseDoctor, shared pair", flags=SHARED),
    Row("moe-sharing", "LoRA-MoE without contrast, sharing", flags=(*NO_CONTRAST, *SHARING)),
    Row("sparsedoctor-sharing", "SparseDoctor, sharing", flags=SHARING),
    Row(
        "moe-tuned",
        "LoRA-MoE without contrast, sharing, faster router",
        flags=(*NO_CONTRAST, *TUNED),
    ),
    Row("sparsedoctor-tuned", "SparseDoctor, sharing, faster router", flags=TUNED),
    Row(
        "sparsedoctor-subjects",
        "SparseDoctor, sharing, faster router, experts by subject",
        flags=(*TUNED, *SUBJECTS),
    ),
    Row(
        "sparsedoctor-released",
        "SparseDoctor, experts by subject, released after 150 steps",
        flags=(*TUNED, *RELEASED),
    ),
)


@dataclass(frozen=True, slots=True)
class Track:
    """A language: what is learned, what is scored, whose loss is measured. Below the data."""

    training: tuple[str, ...]
    benchmarks: tuple[tuple[str, str], ...]  # (name, path)
    loss: tuple[str, str]


TRACKS = {
    "zh": Track(
        (
            "train/cn_exam_train.jsonl.gz",
            "train/huatuo_instructions.jsonl.gz",
            "train/cmtmedqa_multiturn.jsonl.gz",
        ),
        (
            ("cmmlu-med-apollo", "eval/cmmlu"),
            ("cmexam", "eval/cmexam_dev.csv"),
            ("medqa-zh", "eval/medqa_zh_test.jsonl.gz"),
        ),
        ("cmexam", "eval/cmexam_dev.csv"),
    ),
    "en": Track(
        ("train/en_exam_train.jsonl.gz", "train/medquad_train.jsonl.gz"),
        (("mmlu-med", "eval/mmlu_med_test.jsonl.gz"), ("medmcqa", "eval/medmcqa_dev.jsonl.gz")),
        ("medquad", "eval/medquad_dev.jsonl.gz"),
    ),
}
