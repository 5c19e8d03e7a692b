"""Concatenated experts against PEFT, against a loop over experts, and against hostile adapters."""

import json
import shutil
import threading

import pytest
import torch
from conftest import (
    EXPERTS,
    LAYERS,
    LAYOUT,
    PROMPTS,
    logits_of,
    one_hot,
    random_plan,
    reference_logits,
)
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from atmoe import RoutingPlan
from atmoe.errors import AssetError, PlanError
from atmoe.mixture.experts import (
    Adapter,
    ExpertBank,
    ExpertLinear,
    Mixing,
    decoder_layers,
    layer_linears,
    mixed_by,
)

CLOSE = dict(rtol=1e-5, atol=1e-5)  # float32


def loop_over_experts(base, adapters, weights):
    """The same mixture, hooked onto a plain base linear by linear, one expert after the other.

    weights: [layers, experts] of one row.
    """
    _, prefix = decoder_layers(base)

    def beside(name, layer):
        def hook(module, args, y):
            for expert, adapter in enumerate(adapters):
                if name in adapter.factors:
                    a, b = adapter.factors[name]
                    y = y + weights[layer, expert] * adapter.scaling * (args[0] @ a.T @ b.T)
            return y

        return hook

    for name in layer_linears(base):
        base.get_submodule(name).register_forward_hook(
            beside(name, int(name[len(prefix) + 1 :].split(".")[0]))
        )
    return base


# -- against PEFT and against the loop, in every family --------------------------------------------


def test_one_hot_plan_is_that_peft_adapter_alone(world):
    peft = world.peft()
    base = reference_logits(world.base(), world.unit, PROMPTS[1])
    for name in LAYOUT.expert_names:
        peft.set_adapter(name.replace("/", "-"))
        want = reference_logits(peft, world.unit, PROMPTS[1])
        assert (want - base).abs().max() > 1e-2  # the adapter does something
        torch.testing.assert_close(logits_of(world.unit, PROMPTS[1], one_hot(name)), want, **CLOSE)


def test_all_off_and_strength_0_are_the_base_exactly(world):
    for prompt in PROMPTS[:2]:
        want = reference_logits(world.base(), world.model, prompt)
        plan = random_plan(3)
        none = RoutingPlan(LAYOUT, plan.group_shares, plan.expert_shares, torch.zeros(LAYERS))
        assert torch.equal(logits_of(world.model, prompt, RoutingPlan.off(LAYOUT)), want)
        assert torch.equal(logits_of(world.model, prompt, none), want)
        assert not torch.equal(logits_of(world.model, prompt, plan), want)


def test_concatenated_is_a_loop_over_experts(world):
    """Different shares at every layer, a gain, a strength: each must land where it belongs."""
    plan = random_plan(5)
    plan = RoutingPlan(
        LAYOUT, plan.group_shares, plan.expert_shares, torch.linspace(0.3, 1.7, LAYERS)
    )
    adapters = [Adapter.load(world.adapter(name)) for name in LAYOUT.expert_names]
    weights = (world.model.router.gain * plan.strength)[:, None] * plan.weights
    want = reference_logits(
        loop_over_experts(world.base(), adapters, weights), world.model, PROMPTS[1]
    )
    torch.testing.assert_close(logits_of(world.model, PROMPTS[1], plan), want, **CLOSE)


def test_concatenated_is_peft_add_weighted_adapter_cat(world):
    """PEFT has one weight an adapter for all layers, so the plan is the same at every layer."""
    plan = RoutingPlan.choosing(LAYOUT, {}, {"task": 0.5, "field": 0.2, "reader": 0.3})
    inside = plan.expert_shares.clone()
    inside[:, :3] = torch.tensor([0.6, 0.1, 0.3])
    plan = RoutingPlan(LAYOUT, plan.group_shares, inside)
    peft = world.peft()
    peft.add_weighted_adapter(
        [n.replace("/", "-") for n in LAYOUT.expert_names],
        plan.weights[0].tolist(),
        "mix",
        combination_type="cat",
    )
    peft.set_adapter("mix")
    torch.testing.assert_close(
        logits_of(world.unit, PROMPTS[1], plan),
        reference_logits(peft, world.unit, PROMPTS[1]),
        **CLOSE,
    )


# -- one linear, in float64 ------------------------------------------------------------------------


def one_linear(dtype=torch.float64):
    torch.manual_seed(1)
    linear = torch.nn.Linear(11, 13).to(dtype)
    factors = [
        (torch.randn(r, 11, dtype=dtype), torch.randn(13, r, dtype=dtype)) if r else None
        for r in (2, 0, 7, 1)
    ]
    expert_linear = ExpertLinear(linear, 2, factors)

    class Bank:
        layers, scaling = 5, torch.tensor([0.5, 9.0, 2.0, 3.0], dtype=torch.float64)

    Bank.dtype = dtype
    return linear, factors, expert_linear, Bank


def test_a_linear_mixes_outputs_per_row_and_layer():
    linear, factors, expert_linear, bank = one_linear()
    x, weights = (
        torch.randn(3, 6, 11, dtype=torch.float64),
        torch.rand(3, 5, 4, dtype=torch.float64),
    )
    want = linear(x)
    for row in range(3):
        for expert, pair in enumerate(factors):
            if pair is not None:
                want[row] += (
                    weights[row, 2, expert] * bank.scaling[expert] * x[row] @ pair[0].T @ pair[1].T
                )
    with mixed_by(Mixing(bank, weights)):
        torch.testing.assert_close(expert_linear(x), want, rtol=1e-12, atol=1e-12)
    assert torch.equal(expert_linear(x), linear(x))  # nothing is left behind


def test_three_identical_experts_at_a_third_are_one():
    """Mixing factors instead of outputs makes this 2.9 times too large."""
    linear, factors, _, bank = one_linear()
    bank.scaling = torch.ones(3, dtype=torch.float64)
    thrice, once = (
        ExpertLinear(linear, 0, [factors[2]] * 3),
        ExpertLinear(linear, 0, [factors[2], None, None]),
    )
    x = torch.randn(2, 6, 11, dtype=torch.float64)
    with mixed_by(Mixing(bank, torch.full((2, 5, 3), 1 / 3, dtype=torch.float64))):
        mixed = thrice(x)
    with mixed_by(Mixing(bank, torch.tensor([1.0, 0, 0], dtype=torch.float64).expand(2, 5, 3))):
        torch.testing.assert_close(mixed, once(x), rtol=1e-12, atol=1e-12)


def test_the_layers_a_routing_did_not_reach_run_the_base():
    linear, _, expert_linear, bank = one_linear()
    x, mixing = torch.randn(3, 6, 11, dtype=torch.float64), Mixing(bank)
    mixing.set_layer(1, torch.ones(3, 4))
    with mixed_by(mixing):
        assert torch.equal(expert_linear(x), linear(x))
        mixing.set_layer(2, torch.ones(3, 4))
        assert not torch.equal(expert_linear(x), linear(x))


def test_bfloat16_stays_close_to_float64():
    """Stated tolerance of bfloat16: 3% of the output's own size."""
    _, _, exact, bank = one_linear()
    weights, x = torch.rand(3, 5, 4), torch.randn(3, 6, 11, dtype=torch.float64)
    with mixed_by(Mixing(bank, weights)):
        want = exact(x)
    low = exact.to(torch.bfloat16)
    bank.dtype = torch.bfloat16
    with mixed_by(Mixing(bank, weights)):
        got = low(x.bfloat16())
    assert got.dtype is torch.bfloat16
    assert (got.double() - want).norm() / want.norm() < 0.03


def test_weights_of_another_shape_are_refused(model):
    with pytest.raises(PlanError, match=r"\(rows, 5, 6\)"):
        Mixing(model.bank, torch.ones(4, 6, 5))


def test_another_thread_does_not_see_the_weights():
    linear, _, expert_linear, bank = one_linear()
    x, seen = torch.randn(2, 6, 11, dtype=torch.float64), []
    with mixed_by(Mixing(bank, torch.ones(2, 5, 4))):
        thread = threading.Thread(target=lambda: seen.append(expert_linear(x)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], linear(x))


def test_weights_are_gone_after_an_exception():
    linear, _, expert_linear, bank = one_linear()
    x = torch.randn(2, 6, 11, dtype=torch.float64)
    with pytest.raises(KeyError), mixed_by(Mixing(bank, torch.ones(2, 5, 4))):
        raise KeyError
    assert torch.equal(expert_linear(x), linear(x))


# -- adapters on disk ------------------------------------------------------------------------------


def test_an_adapter_keeps_its_scaling(llama):
    scalings = {name: Adapter.load(llama.adapter(name)).scaling for name in EXPERTS}
    assert scalings == pytest.approx(
        {
            "task/define": 16 / 3,
            "task/treat": 8 / 7,
            "task/warn": 5 / 2,
            "field/heart": 11 / 3,
            "reader/lay": 2,
            "reader/expert": 1,
        }
    )


@pytest.mark.parametrize("name", EXPERTS)
def test_the_bank_gives_every_adapter_back(llama, name, tmp_path):
    """Out of the concatenated form and through PEFT's format: the same matrices, the same scale."""
    before = Adapter.load(llama.adapter(name))
    llama.model.bank.adapter(LAYOUT.expert_names.index(name)).save(tmp_path, dtype=torch.float32)
    after = Adapter.load(tmp_path)
    assert (
        after.scaling == pytest.approx(before.scaling)
        and after.factors.keys() == before.factors.keys()
    )
    for module, pair in before.factors.items():
        assert all(torch.equal(x, y) for x, y in zip(pair, after.factors[module]))


def test_a_new_adapter_starts_at_nothing(llama):
    adapter = Adapter.random(
        llama.base(), ["model.layers.1.mlp.up_proj"], 3, 6.0, torch.Generator().manual_seed(0)
    )
    a, b = adapter.factors["model.layers.1.mlp.up_proj"]
    assert a.shape == (3, 48) and b.shape == (40, 3) and not b.any()
    assert adapter.scaling == 2 and 0 < a.abs().max() <= 48**-0.5


def test_training_moves_only_the_experts(llama):
    model = llama.build()
    parameters = model.bank.parameters_to_train()
    batch = model.collate([model.encode(p) for p in PROMPTS])
    model.forward(batch, [random_plan(i) for i in range(4)])[0].sum().backward()
    assert len(parameters) == 2 * len(model.bank.linears) and all(
        p.grad.abs().max() > 0 for p in parameters
    )
    assert not any(
        p.grad is not None for n, p in model.base.named_parameters() if not n.endswith((".A", ".B"))
    )


def damaged(llama, tmp_path, **settings):
    """A copy of an adapter with changed settings."""
    shutil.copytree(llama.adapter("task/treat"), tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"rank_pattern": {"q_proj": 3}},
        {"modules_to_save": ["lm_head"]},
        {"peft_type": "IA3"},
        {"r": "many"},
    ],
)
def test_what_is_no_plain_lora_is_refused(llama, tmp_path, settings):
    with pytest.raises(AssetError, match="; (train|restore|use)"):
        Adapter.load(damaged(llama, tmp_path, **settings))


def test_damaged_adapters_are_refused(llama, tmp_path):
    path = damaged(llama, tmp_path)
    file = path / "adapter_model.safetensors"
    state = load_file(file)
    key = next(iter(state))
    for broken in (
        {k: v for k, v in state.items() if k != key},
        state | {"base_model.model.lm_head.weight": state[key].clone()},
    ):
        save_file(broken, file)
        with pytest.raises(AssetError, match="(restore|train)"):
            Adapter.load(path)
    file.write_bytes(b"not safetensors")
    with pytest.raises(AssetError, match="cannot be read .* restore"):
        Adapter.load(path)
    file.unlink()
    with pytest.raises(AssetError, match="restore"):
        Adapter.load(path)
    with pytest.raises(AssetError, match="holds no PEFT adapter .* restore"):
        Adapter.load(tmp_path / "nothing here")


def test_adapters_of_another_base_are_refused(llama):
    adapter = Adapter.load(llama.adapter("task/treat"))
    a, b = next(iter(adapter.factors.values()))
    for name, pair in (
        ("model.layers.9.self_attn.q_proj", (a, b)),
        ("lm_head", (a, b)),
        ("model.layers.1.input_layernorm", (a, b)),
        ("model.layers.1.mlp.down_proj", (a, b)),
    ):
        with pytest.raises(AssetError, match="use the base"):
            ExpertBank(llama.base(), [Adapter({name: pair}, 1.0, 1.0)])


def test_peft_loads_what_the_bank_saved(llama, tmp_path):
    """One expert, out of the bank, alone under PEFT."""
    for name in ("field/heart", "reader/lay"):
        llama.unit.bank.adapter(LAYOUT.expert_names.index(name)).save(
            tmp_path / name, dtype=torch.float32
        )
        peft = PeftModel.from_pretrained(llama.base(), str(tmp_path / name)).eval()
        torch.testing.assert_close(
            reference_logits(peft, llama.unit, PROMPTS[0]),
            logits_of(llama.unit, PROMPTS[0], one_hot(name)),
            **CLOSE,
        )


def test_peft_pattern_ranks_load_at_each_modules_own_scale(llama, tmp_path):
    """PEFT scales each module by its own rank."""
    peft = get_peft_model(
        llama.base(),
        LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=["q_proj", "v_proj"],
            rank_pattern={"v_proj": 2},
            task_type="CAUSAL_LM",
        ),
    )
    peft.save_pretrained(tmp_path)
    adapter = Adapter.load(tmp_path)
    for name in adapter.factors:
        assert adapter.scaling_of(name) == (8 / 2 if name.endswith("v_proj") else 8 / 4)
