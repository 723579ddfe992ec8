"""Which inputs of each weight matrix matter: an importance matrix for the quantiser.

    table = importance(Path("model-f32.gguf"), [(Message("user", ...), Message("assistant", ...))])
    quantize(Path("model-f32.gguf"), Path("model-q4.gguf"), "Q4_K_M", imatrix=table)

For every matrix the mean square of each of its inputs over the tokens of real conversations, for
an expert over the tokens that reached it. The quantiser weighs its rounding error by it, as with
the tables of llama.cpp's own tool, llama-imatrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsedoctor.core.bundle import parse_bundle
from sparsedoctor.core.engine.channel import ChannelClosed
from sparsedoctor.core.engine.process import EngineProcess
from sparsedoctor.core.engine.protocol import EngineError, Message
from sparsedoctor.core.engine.threads import default_threads
from sparsedoctor.core.engine.wire import pack_messages
from sparsedoctor.core.gguf_header import read_header

Table = dict[str, NDArray[np.float32]]


def importance(
    source: Path,
    conversations: Sequence[Sequence[Message]],
    *,
    most_tokens: int = 256,
    threads: int = 0,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Table:
    """The table of a mixture of ours: `[inputs]`, `[experts * inputs]` for a stack of experts.

    Of each conversation `most_tokens` are read at most. `threads` 0: one core is left free.
    `progress` counts conversations. Raises EngineError for another kind of file, or when
    llama.cpp cannot run it.
    """
    header = read_header(source)
    bundle = parse_bundle(header, source)
    if bundle is None:
        raise EngineError(f"{source} is no mixture of ours; its inputs cannot be weighed")
    request = {
        "do": "weigh",
        "number": 0,
        "source": str(source),
        "template": bundle.prompt_template,
        "experts": bundle.expert_count,
        "used": bundle.expert_used_count,
        "sizes": {name: list(info.shape) for name, info in header.tensors.items()},
        "conversations": [pack_messages(tuple(messages)) for messages in conversations],
        "most_tokens": most_tokens,
        "threads": threads or default_threads(),
    }
    process, table = EngineProcess(), Table()
    try:
        process.channel.send(request)
        while True:
            message, data = process.channel.receive()
            if "error" in message:
                raise EngineError(message["error"])
            if "done" in message:
                return table
            if "tensor" in message:
                table[message["tensor"]] = np.frombuffer(data, "<f4").copy()
            else:
                progress(message["at"], message["of"])
    except ChannelClosed:
        how = process.how_it_ended()
        raise EngineError(f"the inputs could not be weighed: {how}") from None
    finally:
        process.end()
        process.release()
