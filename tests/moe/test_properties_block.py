"""Properties of one block, over drawn shapes and routings: output and every gradient equal the
formula computed one token and one expert at a time."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe.experts import ExpertWeights, FrozenBlock, LoraPairs, mixed_experts
from sparsedoctor.core.moe.reference import reference_experts
from sparsedoctor.core.moe.router import Routing, route


class Case(NamedTuple):
    """A block and its tokens. `chosen` draws what each token chooses."""

    tokens: int
    experts: int
    top_k: int
    rank: int
    shared: int
    sharing: float
    hidden: int
    ffn: int
    chosen: str  # "router", "the same", "never the last"
    seed: int


@st.composite
def cases(draw: st.DrawFn, narrowest: int = 1) -> Case:
    experts = draw(st.integers(2, 9))
    return Case(
        tokens=draw(st.integers(1, 40)),
        experts=experts,
        top_k=draw(st.integers(2, experts)),
        rank=draw(st.integers(1, 7)),
        shared=draw(st.integers(0, 5)),
        sharing=draw(st.sampled_from((0.0, 0.0, 0.3, 0.9))),
        hidden=draw(st.integers(narrowest, narrowest + 18)),
        ffn=draw(st.integers(narrowest, narrowest + 22)),
        chosen=draw(st.sampled_from(("router", "the same", "never the last"))),
        seed=draw(st.integers(0, 10_000)),
    )


ONE_TOKEN = Case(1, 4, 2, 3, 0, 0.0, 10, 14, "router", 0)
EVERY_EXPERT = Case(9, 5, 5, 2, 0, 0.0, 10, 14, "router", 1)
ALL_TO_THE_SAME = Case(17, 4, 2, 3, 2, 0.0, 11, 13, "the same", 2)
EMPTY_EXPERT = Case(23, 8, 3, 5, 0, 0.0, 7, 9, "never the last", 3)
# The tokens of one CPU block and one more, so that the last block holds a single token.
OVER_THE_BLOCK = Case(33, 4, 2, 3, 2, 0.3, 10, 14, "router", 4)


class Block(NamedTuple):
    case: Case
    x: Tensor  # [tokens, hidden]
    router: Tensor  # [E, hidden]
    frozen: tuple[Tensor, Tensor, Tensor]
    leaves: list[Tensor]  # of gate, up and down

    def weights(self) -> ExpertWeights:
        size = 4 if self.case.shared else 2
        parts = [LoraPairs(*self.leaves[n * size : (n + 1) * size]) for n in range(3)]
        return ExpertWeights(*parts, 1.7, 0.6, self.case.sharing)

    def routing(self) -> Routing:
        """By the router; or with choices made for it, whose weights still come from it."""
        routing = route(self.x, self.router, self.case.top_k)
        if self.case.chosen == "router":
            return routing
        number = self.case.experts - (self.case.chosen == "never the last")
        k = min(self.case.top_k, number)
        generator = torch.Generator().manual_seed(self.case.seed)
        rows = 1 if self.case.chosen == "the same" else self.case.tokens
        experts = torch.stack(
            [torch.randperm(number, generator=generator)[:k] for _ in range(rows)]
        ).expand(self.case.tokens, k)
        chosen = routing.probabilities.gather(1, experts)
        return Routing(
            routing.logits, routing.probabilities, experts, chosen / chosen.sum(-1, keepdim=True)
        )


def _block(case: Case, dtype: torch.dtype) -> Block:
    torch.manual_seed(case.seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64) / shape[-1] ** 0.5

    def pairs(wide: int, out: int) -> list[Tensor]:
        made = [random(case.experts, case.rank, wide), random(case.experts, out, case.rank)]
        return made + ([random(case.shared, wide), random(out, case.shared)] if case.shared else [])

    hidden, ffn = case.hidden, case.ffn
    leaves = [*pairs(hidden, ffn), *pairs(hidden, ffn), *pairs(ffn, hidden)]
    frozen = (random(ffn, hidden), random(ffn, hidden), random(hidden, ffn))
    # Every value is one that bfloat16 holds, so that all precisions compute the same problem.
    x, router, *leaves = (
        tensor.bfloat16().to(dtype).requires_grad_()
        for tensor in (2 * random(case.tokens, hidden), random(case.experts, hidden), *leaves)
    )
    return Block(
        case, x, router, tuple(w.bfloat16().to(dtype) for w in frozen), leaves  # type: ignore[arg-type]
    )  # fmt: skip


def _fast(block: Block, routing: Routing) -> Tensor:
    frozen = FrozenBlock(*(lambda v, w=w: F.linear(v, w) for w in block.frozen))
    return mixed_experts(block.x, frozen, block.weights(), routing).y


def _with_gradients(block: Block, y: Tensor) -> list[Tensor]:
    """Output, and the gradients of x, router and every trained tensor."""
    torch.manual_seed(block.case.seed + 1)
    direction = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
    leaves = [block.x, block.router, *block.leaves]
    gradients = torch.autograd.grad((y * direction).sum(), leaves, materialize_grads=True)
    return [y.detach(), *gradients]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases())
@example(ONE_TOKEN)
@example(EVERY_EXPERT)
@example(ALL_TO_THE_SAME)
@example(EMPTY_EXPERT)
@example(OVER_THE_BLOCK)
def test_float32_output_and_every_gradient_equal_the_formula(case: Case) -> None:
    block = _block(case, torch.float32)
    routing = block.routing()
    slow = reference_experts(block.x, *block.frozen, block.weights(), routing)
    pairs = (_with_gradients(block, y) for y in (_fast(block, block.routing()), slow))
    for mine, expected in zip(*pairs, strict=True):
        # The router's gradient is a difference of nearly equal terms when all agree: its error is
        # measured against what the terms weigh.
        torch.testing.assert_close(mine, expected, rtol=2e-4, atol=2e-5)


BFLOAT16_ERROR = 0.03  # relative, in norm; one rounding is 0.004


# Not narrower: where a sum has one or two terms that cancel, no relative error is small.
@settings(max_examples=25, deadline=None, derandomize=True)
@given(cases(narrowest=16))
@example(ONE_TOKEN)
@example(EVERY_EXPERT)
@example(ALL_TO_THE_SAME)
@example(EMPTY_EXPERT)
def test_bfloat16_output_and_every_gradient_stay_within_the_stated_error(case: Case) -> None:
    """Both are held to the formula in float64 with the same routing; the fast path may be no
    worse than the stated error or than twice what the formula itself loses in bfloat16."""
    exact_block, rough_block = _block(case, torch.float64), _block(case, torch.bfloat16)
    routing = rough_block.routing()
    fixed = routing.weights.detach()
    results = []
    for block, kind in ((exact_block, torch.float64), (rough_block, torch.bfloat16)):
        own = Routing(routing.logits, routing.probabilities, routing.experts, fixed.to(kind))
        slow = reference_experts(block.x, *block.frozen, block.weights(), own)
        results.append(_with_gradients(block, slow))
    own = Routing(routing.logits, routing.probabilities, routing.experts, fixed)
    fast = _with_gradients(rough_block, _fast(rough_block, own))
    for mine, exact, rough in zip(fast, *results, strict=True):
        weight = exact.norm()
        if weight == 0:
            assert mine.norm() == 0
            continue
        error, own_error = (float((v.double() - exact).norm() / weight) for v in (mine, rough))
        assert error <= max(BFLOAT16_ERROR, 2 * own_error), (tuple(exact.shape), error, own_error)


def test_an_expert_that_no_token_chose_has_a_gradient_of_exactly_zero() -> None:
    block = _block(EMPTY_EXPERT, torch.float32)
    y = _fast(block, block.routing())
    for gradient in torch.autograd.grad(y.square().sum(), block.leaves):
        assert gradient[-1].abs().max() == 0
        assert gradient[:-1].flatten(1).abs().amax(dim=1).min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_token_is_computed_alike_whoever_its_neighbours_are(dtype: torch.dtype) -> None:
    block = _block(Case(70, 6, 3, 4, 2, 0.0, 16, 20, "router", 5), dtype)
    whole = _fast(block, block.routing())
    for rows in (slice(0, 1), slice(31, 40), slice(33, 70)):
        part = block._replace(x=block.x[rows], case=block.case._replace(tokens=len(block.x[rows])))
        alone = _fast(part, part.routing())
        tolerance = 1e-6 if dtype == torch.float32 else 1e-2
        torch.testing.assert_close(alone, whole[rows], rtol=tolerance, atol=tolerance)


def test_no_tokens_at_all_are_no_special_case() -> None:
    block = _block(Case(3, 4, 2, 2, 1, 0.0, 8, 9, "router", 6), torch.float32)
    empty = block._replace(x=block.x[:0])
    y = _fast(empty, route(empty.x, block.router, 2))
    assert y.shape == (0, 8)
    for gradient in torch.autograd.grad(y.sum(), block.leaves, materialize_grads=True):
        assert gradient.abs().sum() == 0


def test_the_weights_of_the_best_k_add_up_to_one_in_every_precision() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x, router = torch.randn(50, 12, dtype=dtype) * 30, torch.randn(7, 12, dtype=dtype)
        routing = route(x, router, 3)
        assert routing.weights.dtype == torch.float32
        torch.testing.assert_close(routing.weights.sum(-1), torch.ones(50))
        assert (routing.weights.diff(dim=-1) <= 0).all()  # the most probable first
        assert all(len(set(row)) == 3 for row in routing.experts.tolist())
