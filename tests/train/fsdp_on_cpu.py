"""`sparsedoctor-train` as `accelerate launch --use_fsdp --fsdp_version 2` starts it, on a CPU.

accelerate shards weights on accelerators only and ignores the wish on a CPU; torch itself does
both. Here accelerate is told that a CPU is one, so that the rest of it does what it does there.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from accelerate import state
from accelerate.utils import DistributedType

os.environ |= {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
os.environ.setdefault("FSDP_VERSION", "2")
_begin = state.AcceleratorState.__init__


def _begin_with_fsdp(self: Any, *given: Any, fsdp_plugin: Any = None, **named: Any) -> None:
    _begin(self, *given, fsdp_plugin=fsdp_plugin, **named)
    if self.distributed_type == DistributedType.MULTI_CPU and fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    state.AcceleratorState.__init__ = _begin_with_fsdp  # type: ignore[method-assign]
    from sparsedoctor.train.cli import main

    sys.exit(main())
