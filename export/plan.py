"""Which tensors an exported file has, and how each is computed from base and adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from sparsedoctor.core.errors import SparseDoctorError
from sparsedoctor.export.adapter import Adapter, Projection
from sparsedoctor.export.base import Base, read
from sparsedoctor.export.gguf_base import gguf_name
from sparsedoctor.export.gguf_file import Block, PlannedTensor
from sparsedoctor.export.merge import add_delta
from sparsedoctor.export.rotary import interleave
from sparsedoctor.export.types import FileFormat, encode, tensor_type

Array = NDArray[np.float32]
_BLOCK_VALUES = 1 << 19  # values computed at a time: 2 MiB in float32, within a core's cache
_PROJECTIONS: tuple[Projection, ...] = ("gate", "up", "down")


def plan_mixture(base: Base, adapter: Adapter, fmt: FileFormat) -> list[PlannedTensor]:
    """The tensors of the mixture, in file order. Nothing is read yet."""
    return list(_model(base, adapter, fmt, None))


def plan_expert(base: Base, adapter: Adapter, fmt: FileFormat, expert: int) -> list[PlannedTensor]:
    """The tensors of one expert as a dense model of its own."""
    return list(_model(base, adapter, fmt, expert))


def _model(
    base: Base, adapter: Adapter, fmt: FileFormat, only: int | None
) -> Iterator[PlannedTensor]:
    yield plain_tensor(base, "model.embed_tokens.weight", fmt)
    factors = base.rope_factors()
    if factors is not None:
        yield ready_tensor("rope_freqs.weight", factors, fmt)
    for layer in range(base.shape.layers):
        at = f"model.layers.{layer}."
        yield plain_tensor(base, at + "input_layernorm.weight", fmt)
        yield from attention_tensors(base, adapter, layer, fmt, permute=base.shape.permuted)
        yield plain_tensor(base, at + "post_attention_layernorm.weight", fmt)
        if only is None:
            yield ready_tensor(f"blk.{layer}.ffn_gate_inp.weight", adapter.router(layer), fmt)
        for projection in _PROJECTIONS:
            yield experts_tensor(base, adapter, layer, projection, fmt, only)
    yield plain_tensor(base, "model.norm.weight", fmt)
    if not base.shape.tied:
        yield plain_tensor(base, "lm_head.weight", fmt)


def attention_tensors(
    base: Base, adapter: Adapter, layer: int, fmt: FileFormat, *, permute: bool
) -> Iterator[PlannedTensor]:
    """The attention of one layer: its LoRA merged, q and k in llama.cpp's rotary order or not."""
    for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"):
        for kind in ("weight", "bias"):
            name = f"model.layers.{layer}.self_attn.{part}.{kind}"
            shape = base.tensor_shape(name)
            if shape is not None:
                stored = _stored_name(name)
                compute = partial(attention_values, base, adapter, layer, part, kind, permute)
                yield _whole(stored, shape, tensor_type(stored, shape, fmt), compute)


def attention_values(
    base: Base, adapter: Adapter, layer: int, part: str, kind: str, permute: bool
) -> Array:
    """One tensor of the attention as it is written: merged, and permuted where the graph asks."""
    name = f"model.layers.{layer}.self_attn.{part}.{kind}"
    values = _finite(read(base, name), name)
    if kind == "weight" and part.endswith("_proj"):
        values = add_delta(values, adapter.attention_delta(layer, part))
    if permute and part in ("q_proj", "k_proj"):
        heads = base.shape.heads if part == "q_proj" else base.shape.kv_heads
        values = interleave(values, heads)
    return values


def shared_weight(base: Base, adapter: Adapter, layer: int, projection: Projection) -> Array:
    """What all experts have in common: `W + s0 B0 A0`. `[out, in]`"""
    name = f"model.layers.{layer}.mlp.{projection}_proj.weight"
    return add_delta(_finite(read(base, name), name), adapter.shared_delta(layer, projection))


def row_blocks(rows: int, width: int) -> Iterator[tuple[int, int]]:
    """`start, stop` of blocks of rows that hold about `_BLOCK_VALUES` values each."""
    step = max(1, _BLOCK_VALUES // width)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


class _Once:
    """A value computed by whichever thread asks first."""

    def __init__(self, compute: Callable[[], Array]) -> None:
        self._compute, self._lock = compute, Lock()
        self._value: Array | None = None

    def __call__(self) -> Array:
        with self._lock:
            if self._value is None:
                self._value = self._compute()
            return self._value


def experts_tensor(
    base: Base,
    adapter: Adapter,
    layer: int,
    projection: Projection,
    fmt: FileFormat,
    only: int | None,
) -> PlannedTensor:
    """A stack of merged experts `[E, out, in]`, or `only` one of them `[out, in]`."""
    one = base.tensor_shape(f"model.layers.{layer}.mlp.{projection}_proj.weight")
    assert one is not None
    experts = range(adapter.settings.experts) if only is None else [only]
    shape = (len(experts), *one) if only is None else one
    stored = f"blk.{layer}.ffn_{projection}{'_exps' if only is None else ''}.weight"
    kind = tensor_type(stored, shape, fmt)

    def blocks() -> Iterator[Block]:
        # Read once for all experts, by the first block that needs it.
        common = _Once(partial(shared_weight, base, adapter, layer, projection))

        def merged(expert: int, start: int, stop: int) -> bytes:
            delta = adapter.expert_delta(layer, projection, expert)
            return encode(add_delta(common()[start:stop], delta, start), kind)

        for expert in experts:
            for start, stop in row_blocks(*one):
                yield partial(merged, expert, start, stop)

    return PlannedTensor(stored, shape, kind, blocks)


def plain_tensor(base: Base, name: str, fmt: FileFormat) -> PlannedTensor:
    """A tensor taken over from the base, read a few rows at a time."""
    shape = base.tensor_shape(name)
    assert shape is not None, name
    stored = _stored_name(name)
    kind = tensor_type(stored, shape, fmt)

    def rows(start: int, stop: int) -> bytes:
        return encode(_finite(base.rows(name, start, stop), name), kind)

    def blocks() -> Iterator[Block]:
        for start, stop in row_blocks(shape[0], int(np.prod(shape[1:]))):
            yield partial(rows, start, stop)

    return PlannedTensor(stored, shape, kind, blocks)


def ready_tensor(stored: str, values: Array, fmt: FileFormat) -> PlannedTensor:
    return _whole(stored, values.shape, tensor_type(stored, values.shape, fmt), lambda: values)


def _whole(
    stored: str, shape: tuple[int, ...], kind: GGMLQuantizationType, compute: Callable[[], Array]
) -> PlannedTensor:
    return PlannedTensor(stored, shape, kind, lambda: [lambda: encode(compute(), kind)])


def _stored_name(name: str) -> str:
    stored = gguf_name(name)
    assert stored is not None, name
    return stored


def _finite(values: Array, name: str) -> Array:
    if not np.isfinite(values).all():
        raise SparseDoctorError(f"the base's tensor {name} holds values that are not finite")
    return values
