"""The grouped router: softmax over groups and inside each, in float32, of the words one typed."""

import pytest
import torch
from conftest import HIDDEN, LAYERS, LAYOUT

from atmoe.routing.router import GroupedRouter, pool_instruction


@pytest.fixture
def router(llama):
    return llama.router()


def test_it_starts_at_equal_shares():
    router = GroupedRouter(LAYOUT, HIDDEN, gain=2.5)
    groups, experts = router(torch.randn(4, HIDDEN), 3)
    assert torch.allclose(groups, torch.full((4, 3), 1 / 3))
    assert torch.allclose(
        experts, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]).expand(4, 6)
    )
    assert torch.equal(router.gain, torch.full((LAYERS,), 2.5))


def test_shares_are_softmaxes_by_hand(router):
    pooled = torch.randn(4, HIDDEN)
    for layer in range(LAYERS):
        groups, experts = router(pooled, layer)
        for row in range(4):
            h = pooled[row].double()
            s = (router.group_weight[layer].double() @ h + router.group_bias[layer].double()).exp()
            q = (
                router.expert_weight[layer].double() @ h + router.expert_bias[layer].double()
            ).exp()
            assert torch.allclose(groups[row].double(), s / s.sum(), atol=1e-5)
            want = torch.cat([q[:3] / q[:3].sum(), q[3:4] / q[3:4], q[4:] / q[4:].sum()])
            assert torch.allclose(experts[row].double(), want, atol=1e-5)


def test_shares_sum_to_one_even_when_extreme(router):
    groups, experts = router(1e4 * torch.randn(4, HIDDEN), 1)
    for part in (groups, experts[:, :3], experts[:, 3:4], experts[:, 4:]):
        assert torch.allclose(part.sum(1), torch.ones(4), atol=1e-6) and (part >= 0).all()


def test_softened_shares_are_roots_of_the_shares_renormalised(router):
    pooled = torch.randn(4, HIDDEN)
    before = [router(pooled, layer) for layer in range(LAYERS)]
    router.soften(4.0)
    for layer, (s, q) in enumerate(before):
        groups, experts = router(pooled, layer)
        assert torch.equal(groups, s)
        for group in LAYOUT.group_names:
            columns = LAYOUT.members(group)
            roots = q[:, columns].double() ** (1 / 4)
            want = roots / roots.sum(1, keepdim=True)
            assert torch.allclose(experts[:, columns].double(), want, atol=1e-5)


def test_all_layers_at_once_are_the_layers_one_by_one(router):
    pooled = torch.randn(4, LAYERS, HIDDEN)
    groups, experts = router(pooled, slice(None))
    assert groups.shape == (4, 5, 3) and experts.shape == (4, 5, 6)
    for layer in range(LAYERS):
        s, q = router(pooled[:, layer], layer)
        assert torch.allclose(groups[:, layer], s, atol=1e-6) and torch.allclose(
            experts[:, layer], q, atol=1e-6
        )


def test_bfloat16_states_are_read_in_float32(router):
    pooled = torch.randn(4, HIDDEN).bfloat16()
    for low, high in zip(router(pooled, 2), router(pooled.float(), 2)):
        assert low.dtype is torch.float32 and torch.equal(low, high)


def test_pooling_is_the_mean_of_the_marked_tokens_alone():
    hidden, mark = torch.randn(3, 7, 11), torch.zeros(3, 7, dtype=torch.long)
    mark[0, 2:5], mark[1, 6], mark[2, :7] = 1, 1, 1
    want = torch.stack([hidden[0, 2:5].mean(0), hidden[1, 6], hidden[2].mean(0)])
    assert torch.allclose(pool_instruction(hidden, mark), want, atol=1e-6)
    loud = torch.where(mark[..., None] == 1, hidden, torch.tensor(1e6))
    assert torch.allclose(pool_instruction(loud, mark), want, atol=1e-6)
    assert pool_instruction(hidden.bfloat16(), mark).dtype is torch.float32
