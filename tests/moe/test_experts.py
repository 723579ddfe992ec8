"""The fast path says what the formula says: in the output and in every gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sparsedoctor.core.moe import mixing
from sparsedoctor.core.moe.experts import ExpertWeights, FrozenBlock, LoraPairs, mixed_experts
from sparsedoctor.core.moe.reference import reference_experts
from sparsedoctor.core.moe.router import Routing, route

cuda = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)


@pytest.fixture(params=["in blocks", "at once"], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of mixing the slots, whatever the device."""
    chosen = mixing.MixInBlocks if request.param == "in blocks" else mixing.MixAtOnce
    monkeypatch.setattr(mixing, "MixInBlocks", chosen)
    monkeypatch.setattr(mixing, "MixAtOnce", chosen)


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype).div_(shape[-1] ** 0.5).requires_grad_()


def _weights(
    experts: int, rank: int, hidden: int, ffn: int, shared: int, sharing: float = 0.0
) -> ExpertWeights:
    def pairs(wide: int, out: int) -> LoraPairs:
        a, b = _random(experts, rank, wide), _random(experts, out, rank)
        if not shared:
            return LoraPairs(a, b)
        return LoraPairs(a, b, _random(shared, wide), _random(out, shared))

    parts = pairs(hidden, ffn), pairs(hidden, ffn), pairs(ffn, hidden)
    return ExpertWeights(*parts, scale=1.7, shared_scale=0.6, sharing=sharing)


def _leaves(weights: ExpertWeights) -> list[Tensor]:
    return [t for p in (weights.gate, weights.up, weights.down) for t in p if t is not None]


def _both(
    tokens: int,
    experts: int,
    top_k: int,
    *,
    rank: int = 3,
    hidden: int = 10,
    ffn: int = 14,
    shared: int = 0,
    sharing: float = 0.0,
    router: Tensor | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """(fast, reference) of the output and of the gradient of every input."""
    torch.manual_seed(tokens * 100 + experts * 10 + top_k)
    x = _random(tokens, hidden)
    router = (torch.randn(experts, hidden) if router is None else router).double()
    router.requires_grad_()
    w_gate, w_up, w_down = _random(ffn, hidden), _random(ffn, hidden), _random(hidden, ffn)
    weights = _weights(experts, rank, hidden, ffn, shared, sharing)
    direction = torch.randn(tokens, hidden, dtype=torch.float64)
    leaves = [x, router, *_leaves(weights)]

    routing = _double(x, router, top_k)
    frozen = FrozenBlock(*(lambda v, w=w: F.linear(v, w) for w in (w_gate, w_up, w_down)))
    fast = mixed_experts(x, frozen, weights, routing).y
    slow = reference_experts(x, w_gate, w_up, w_down, weights, routing)
    fast_gradients = torch.autograd.grad((fast * direction).sum(), leaves, retain_graph=True)
    slow_gradients = torch.autograd.grad((slow * direction).sum(), leaves, materialize_grads=True)
    return [(fast, slow), *zip(fast_gradients, slow_gradients, strict=True)]


def _double(x: Tensor, router: Tensor, top_k: int) -> Routing:
    """`route` in float64, so that the comparison is about the experts alone."""
    probabilities = F.linear(x, router).softmax(-1)
    chosen, experts = probabilities.topk(top_k, dim=-1)
    return Routing(x, probabilities, experts, chosen / chosen.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("tokens", "experts", "top_k", "shared"),
    [(7, 4, 2, 0), (1, 4, 2, 0), (9, 3, 3, 0), (5, 8, 2, 5), (40, 4, 2, 2), (3, 8, 5, 0)],
)
def test_fast_path_equals_the_formula(tokens: int, experts: int, top_k: int, shared: int) -> None:
    for fast, slow in _both(tokens, experts, top_k, shared=shared):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("tokens", "experts", "top_k", "shared"), [(7, 4, 2, 0), (5, 8, 3, 5)])
@pytest.mark.parametrize("sharing", [0.25, 0.75])
def test_experts_that_share_equal_the_formula(
    tokens: int, experts: int, top_k: int, shared: int, sharing: float
) -> None:
    found = _both(tokens, experts, top_k, shared=shared, sharing=sharing)
    for fast, slow in found:
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)
    alone = _both(tokens, experts, top_k, shared=shared)[0][0]
    assert (found[0][0] - alone).abs().max() > 0.01  # the others' pairs do something


@pytest.mark.parametrize(("rank", "hidden", "ffn"), [(1, 7, 11), (5, 3, 1), (8, 16, 17)])
def test_odd_shapes_equal_the_formula(rank: int, hidden: int, ffn: int) -> None:
    for fast, slow in _both(6, 4, 2, rank=rank, hidden=hidden, ffn=ffn, shared=3):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


def test_all_tokens_to_the_same_experts_and_none_to_the_others() -> None:
    router = torch.zeros(4, 10)
    router[0], router[1] = 0.002, 0.001  # ties are broken towards experts 0 and 1 or 3 and 2
    pairs = _both(12, 4, 2, router=router)
    for fast, slow in pairs:
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-11)


def test_an_expert_without_tokens_gets_a_zero_gradient() -> None:
    torch.manual_seed(3)
    x = _random(6, 10)
    weights = _weights(4, 3, 10, 14, 0)
    experts = torch.tensor([[0, 1], [1, 0], [0, 1], [3, 0], [3, 1], [0, 3]])  # never 2
    routing = Routing(x, x, experts, torch.full((6, 2), 0.5, dtype=torch.float64))
    w = [_random(14, 10), _random(14, 10), _random(10, 14)]
    frozen = FrozenBlock(*(lambda v, m=m: F.linear(v, m) for m in w))
    mixed_experts(x, frozen, weights, routing).y.square().sum().backward()
    for leaf in _leaves(weights):
        assert leaf.grad is not None
        assert leaf.grad[2].abs().max() == 0
        assert leaf.grad[0].abs().max() > 0


def test_blocks_of_tokens_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _both(100, 4, 2, shared=2)
    monkeypatch.setattr("sparsedoctor.core.moe.mixing._BLOCK_BYTES", 1)  # 32 tokens a block
    cut = _both(100, 4, 2, shared=2)
    for (a, _), (b, _) in zip(whole, cut, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradients_of_the_slots_pass_numerical_differentiation() -> None:
    torch.manual_seed(0)
    tokens, ffn, columns, top_k = 5, 6, 7, 2
    mask = (torch.rand(top_k, tokens, columns) > 0.4).double() * 1.5
    inputs = (
        _random(tokens, ffn),
        _random(tokens, ffn),
        _random(tokens, 2 * columns),
        mask,
        torch.rand(tokens, top_k, dtype=torch.float64, requires_grad=True),
        _random(ffn, columns),
        _random(ffn, columns),
        _random(columns, ffn),
    )
    assert torch.autograd.gradcheck(mixing.mix_slots, inputs)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=cuda)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_working_precisions_stay_within_the_stated_error(
    dtype: torch.dtype, tolerance: float, device: str
) -> None:
    """Relative error (in norm) of output and gradients against float64: 2e-6 and 2e-2."""
    torch.manual_seed(1)
    hidden, ffn = 64, 96
    x = torch.randn(50, hidden, dtype=torch.float64)
    router = torch.randn(4, hidden, dtype=torch.float64)
    weights = _weights(4, 8, hidden, ffn, 8)
    matrices = [_random(ffn, hidden), _random(ffn, hidden), _random(hidden, ffn)]
    routing = route(x, router, 2)
    results = []
    for kind, place in ((torch.float64, "cpu"), (dtype, device)):
        leaves = [leaf.detach().to(place, copy=True).requires_grad_() for leaf in _leaves(weights)]
        again = ExpertWeights(
            LoraPairs(*leaves[:4]), LoraPairs(*leaves[4:8]), LoraPairs(*leaves[8:]), 1.7, 0.6
        )
        there = [matrix.to(place, kind) for matrix in matrices]
        frozen = FrozenBlock(*(lambda v, m=m: F.linear(v, m) for m in there))
        fed = x.detach().to(place, kind, copy=True).requires_grad_()
        moved = Routing(*(part.to(place) for part in routing))
        y = mixed_experts(fed, frozen, again, moved).y
        assert y.dtype == kind
        y.float().square().sum().backward()
        results.append([part.cpu() for part in (y, fed.grad, *(leaf.grad for leaf in leaves))])
    for exact, rough in zip(*results, strict=True):
        error = (rough.double() - exact).norm() / exact.norm()
        assert error < tolerance, (tuple(exact.shape), float(error))


def test_the_router_works_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    x, router = torch.randn(20, 16), torch.randn(4, 16)
    plain = route(x, router, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = route(x, router, 2)
    assert cast.logits.dtype == torch.float32
    assert torch.equal(plain.logits, cast.logits)
    torch.testing.assert_close(plain.weights.sum(-1), torch.ones(20))


def test_with_one_expert_a_token_the_router_would_learn_nothing() -> None:
    """Why settings refuse top_k = 1: the renormalised weight is constant."""
    torch.manual_seed(0)
    router = torch.randn(4, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(route(torch.randn(9, 16), router, 1).weights.sum(), router)
    assert gradient.abs().max() < 1e-6
