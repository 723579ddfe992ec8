"""Loading a base model for training, evaluation and verification."""

from __future__ import annotations

import importlib.util
import io
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, GgufConfig
from transformers.utils import logging as transformers_logging

from sparsedoctor.core.base_models import base_fingerprint, find_base
from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.core.gguf_header import read_header


@dataclass(frozen=True, slots=True)
class Base:
    """A base model in memory."""

    model: Any  # transformers' PreTrainedModel
    tokenizer: Any  # transformers' tokenizer
    name: str  # for people: the file's or folder's name
    path: Path
    sha256: str


def load_base(
    name: str,
    dtype: torch.dtype = torch.float32,
    *,
    four_bit: bool = False,
    attention: str | None = None,
    tokenizer: Any = None,
) -> Base:
    """Load what `name` stands for: "smollm2", a GGUF file or a Hugging Face folder.

    Weights of a GGUF file are dequantised to `dtype`. `four_bit` keeps a folder's linear
    weights in 4-bit NF4 (bitsandbytes). `attention` names transformers'
    implementation ("eager", "sdpa"); None is its default. `tokenizer` is the base's own where it
    has been read already. Raises SparseDoctorError when the base cannot be read.
    """
    path = find_base(name)
    options: dict[str, Any] = {"dtype": dtype}
    if attention:
        options["attn_implementation"] = attention
    folder, source = source_of(path)
    if four_bit:
        _check_four_bit(path)
    if source:
        # Newer transformers keep GGUF weights packed unless told otherwise.
        options["quantization_config"] = GgufConfig(dequantize=True)
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    if tokenizer is None:
        tokenizer = load_tokenizer(name)
    with read_errors(path):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, **source, **options, output_loading_info=True
        )
    _check_whole(path, found["missing_keys"])
    model.config.use_cache = False
    model.get_output_embeddings().register_forward_pre_hook(_contiguous)
    return Base(model, tokenizer, path.name, path, base_fingerprint(path))


def _contiguous(layer: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Asked for the logits of some columns (`logits_to_keep`), models hand a slice of the batch to
    the output layer. torch multiplies a slice by frozen weights row by row of the batch, with a
    copy of the weights for each: with four rows and 151,936 tokens half of a training step."""
    hidden, *rest = given
    return hidden.contiguous(), *rest


def _check_four_bit(path: Path) -> None:
    if path.is_file():
        raise SparseDoctorError(
            f"{path} is a GGUF file; a 4-bit base is made of a Hugging Face folder: "
            "name one, or leave four_bit out"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SparseDoctorError('a 4-bit base needs an extra: pip install "sparsedoctor[four-bit]"')


def _check_whole(path: Path, missing: Collection[str]) -> None:
    """transformers only warns of weights that a file lacks, and draws them at random."""
    if not missing:
        return
    refuse_mixture(path)
    raise SparseDoctorError(
        f"{path} lacks {len(missing)} of the model's weights, the first is {min(missing)}; it is "
        "damaged or a part of a model"
    )


def refuse_mixture(path: Path) -> None:
    """Raise SparseDoctorError for a GGUF file whose feed-forward blocks are experts."""
    if path.is_file():  # a base that is a file is GGUF
        header = read_header(path)
        if header.metadata.get(f"{header.architecture}.expert_count"):
            raise SparseDoctorError(
                f"{path} is a mixture of experts already, which transformers does not read; give "
                "its dense base (sparsedoctor-eval scores the file without --backend transformers)"
            )


def load_tokenizer(name: str) -> Any:
    """The tokenizer of the base that `name` stands for."""
    path = find_base(name)
    folder, source = source_of(path)
    with read_errors(path):
        return AutoTokenizer.from_pretrained(folder, **source)


def source_of(path: Path) -> tuple[str, dict[str, str]]:
    """What transformers wants to be told about a file or folder: a name and more arguments."""
    return (str(path.parent), {"gguf_file": path.name}) if path.is_file() else (str(path), {})


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """transformers' many errors as one of ours, without its progress bars."""
    transformers_logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # dequantising a GGUF file draws one of its own
            yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = textwrap.shorten(str(error), 240, placeholder=" ...")
        raise SparseDoctorError(f"{path} cannot be read as a base model: {reason}") from error
