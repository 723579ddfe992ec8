"""Loading and talking again and again takes no more memory than once."""

from __future__ import annotations

import ctypes
import gc
import os

import psutil
import pytest
from engine.small_gguf import SmallModel

from sparsedoctor.core.engine.cancelling import CancelFlag
from sparsedoctor.core.engine.child import ChildEngine
from sparsedoctor.core.engine.llama_model import LlamaModel, LoadSettings
from sparsedoctor.core.engine.native_log import NativeLog
from sparsedoctor.core.engine.protocol import EngineSettings, Finished, Message, Sampling

MEGABYTE = 1 << 20


def resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def give_back_free_memory() -> None:
    """Otherwise what the C library keeps for later looks like growth, tens of megabytes of it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_ten_loads_and_closes_leave_nothing_behind(moe: SmallModel) -> None:
    """In this process: no memory, no descriptors, no children."""
    sizes, files = [], []
    for _ in range(10):
        engine = ChildEngine(moe.path, EngineSettings(context=256, threads=1))
        engine.load()
        engine.close()
        gc.collect()
        sizes.append(resident(os.getpid()))
        files.append(open_files())
    assert files[-1] == files[1]
    assert sizes[-1] - sizes[1] < 8 * MEGABYTE
    assert psutil.Process().children() == []


def test_ten_models_in_one_process_do_not_grow(moe: SmallModel) -> None:
    """What llama.cpp itself takes is given back by `close`."""
    settings = LoadSettings(str(moe.path), 2048, 64, 1, 0, 4, 4, 2, True)
    log, sizes = NativeLog(), []
    for _ in range(10):
        model = LlamaModel(settings, CancelFlag(), log)
        model.evaluate(list(range(100, 160)))
        model.close()
        gc.collect()
        give_back_free_memory()
        sizes.append(resident(os.getpid()))
    assert sizes[-1] - sizes[2] < 2 * MEGABYTE


@pytest.mark.slow
def test_two_hundred_turns_do_not_grow(moe: SmallModel) -> None:
    """One long conversation: the context fills many times, turns are dropped, some cancelled."""
    engine = ChildEngine(moe.path, EngineSettings(context=1024, threads=1))
    engine.load()
    messages, child, own = [Message("system", "Be brief.")], [], []
    for turn in range(200):
        messages.append(Message("user", f"Question {turn}: what about the cough and the fever?"))
        events = []
        for event in engine.generate(messages, Sampling(max_tokens=24, seed=turn)):
            events.append(event)
            if turn % 10 == 3:
                engine.cancel()
        finished = events[-1]
        assert isinstance(finished, Finished)
        messages.append(Message("assistant", finished.text or "-"))
        child.append(resident(engine.pid or 0))
        own.append(resident(os.getpid()))
    engine.close()
    assert child[-1] - child[60] < 8 * MEGABYTE  # by then the context has been full once
    assert own[-1] - own[60] < 8 * MEGABYTE
