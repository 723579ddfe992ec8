"""Dequantise a GGUF base once, so that not every training and scoring does it again.

Reading a 0.5B base from GGUF takes more than a minute of one core, from float32 safetensors a few
seconds.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from sparsedoctor.core.base_models import find_base


def as_folder(base: str, folder: Path) -> str:
    """`base` itself where it is a Hugging Face folder, else `folder` with its float32 weights."""
    path = find_base(base)
    if path.is_dir():
        return str(path)
    if not folder.is_dir():
        print(f"reading {path.name} once, into {folder}", flush=True)
        # In a process of its own: this one stays small beside its jobs.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context) as pool:
            pool.submit(dequantise, base, folder).result()
    return str(folder)


def dequantise(base: str, folder: Path) -> None:
    """Write weights, tokenizer and configuration of `base`, all of them or nothing."""
    from sparsedoctor.core.moe.base import load_base

    loaded = load_base(base)
    parts = folder.with_name(f".{folder.name}.{os.getpid()}")
    loaded.tokenizer.save_pretrained(str(parts))
    loaded.model.save_pretrained(str(parts))
    try:
        parts.replace(folder)
    except OSError:  # another call was faster
        shutil.rmtree(parts)
        if not folder.is_dir():
            raise
