"""`sparsedoctor-train` as `accelerate launch --use_fsdp` starts it, on a CPU.

accelerate shards weights on accelerators only and ignores the wish on a CPU; torch itself does
both. Here accelerate is told that a CPU is one, so that the rest of it does what it does there.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate import state
from accelerate.utils import DistributedType

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
