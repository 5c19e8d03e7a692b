"""Decoding beside what else mixes LoRA experts: PEFT with one, PEFT with several added up, PEFT's X-LoRA."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from peft import PeftModel

from atmoe.bench import scale as bench_scale
from atmoe.bench.scale import in_turns, over, routed_speed
from atmoe.mixture import base as base_models
from atmoe.model import AtMoe
from atmoe.prompt import collate
from atmoe.study.baselines import logits_of, xlora_model

TOGETHER = 12
"""So many of the experts at once, or all where there are fewer."""
XLORA_TOKENS = 4


def peers(
    model: AtMoe, path: Path, base: str | None, question: str, generate, tokens: int, repeats: int
) -> dict[str, list[float]]:
    """Tokens a second of a routed plan against each; the same experts, base and precision.

    generate: (a causal language model, tokens) → its tokens a second through transformers' generate
    """
    one, several = (_peft(model, path, base, n) for n in (1, TOGETHER))
    xlora = xlora_model(model, path, base)
    prompt = model.encode(question)

    def by_xlora() -> float:
        """It takes no cache: each token is a pass over all before it (two, one of them for its scalings)."""
        ids, began = list(prompt.ids), bench_scale.now()
        for _ in range(XLORA_TOKENS):
            batch = collate([prompt], [ids[len(prompt.ids) :]], pad=0, device=model.device)
            with torch.inference_mode():
                ids.append(int(logits_of(xlora, batch)[0, -1].argmax()))
        return XLORA_TOKENS / (bench_scale.now() - began)

    found = in_turns(
        {
            "routed": lambda: routed_speed(model, [question], tokens),
            "PEFT, one LoRA": lambda: generate(one, tokens),
            f"PEFT, {min(TOGETHER, len(model.layout.expert_names))} LoRAs": lambda: generate(
                several, tokens
            ),
            "PEFT X-LoRA": by_xlora,
        },
        repeats,
    )
    return {f"routed to {name}": over(found, "routed", name) for name in found if name != "routed"}


def _peft(model: AtMoe, path: Path, base: str | None, count: int) -> PeftModel:
    plain = base_models.load(base_models.fetch(base), model.bank.dtype)[0].to(model.device)
    names = [str(i) for i in range(min(count, len(model.layout.expert_names)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, expert in zip(names, model.layout.expert_names):
            saved = str(Path(path) / "experts" / expert)
            if name == "0":
                peft = PeftModel.from_pretrained(
                    plain, saved, adapter_name=name, autocast_adapter_dtype=False
                )
            else:
                peft.load_adapter(saved, adapter_name=name, autocast_adapter_dtype=False)
    peft.base_model.set_adapter(names)
    return peft.to(model.bank.dtype).eval().requires_grad_(False)
