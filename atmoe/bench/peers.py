"""Decoding beside what else mixes LoRA experts: PEFT with one, with several added up, X-LoRA."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from atmoe.bench import scale as bench_scale
from atmoe.bench.scale import in_turns, over, routed_speed
from atmoe.model import AtMoe
from atmoe.prompt.batch import collate
from atmoe.study.baselines import base_alone, logits_of, xlora_model

TOGETHER = 12
"""So many of the experts at once, or all where there are fewer."""
XLORA_TOKENS = 4
"""It takes no cache, so a few tokens take long enough."""


def peers(
    model: AtMoe,
    path: Path,
    base: str | None,
    question: str,
    generate: Callable[[PreTrainedModel, int], float],
    tokens: int,
    repeats: int,
) -> dict[str, list[float]]:
    """Tokens a second of a routed plan against each; the same experts, base and precision.

    Args:
        model: of which the plan is.
        path: where it is saved: PEFT reads the experts from there.
        base: as for `AtMoe.from_pretrained`.
        question: what is asked.
        generate: (a causal language model, tokens) → its tokens a second through transformers'
            generate.
        tokens: to decode.
        repeats: of each.
    """
    one, several = (_peft(model, path, base, n) for n in (1, TOGETHER))
    xlora = xlora_model(model, path, base)
    prompt = model.encode(question)

    def by_xlora() -> float:
        """Each token is a pass over all before it (two, one of them for its scalings)."""
        ids = list(prompt.ids)
        began = bench_scale.now()
        for _ in range(XLORA_TOKENS):
            batch = collate([prompt], [ids[len(prompt.ids) :]], pad=0, device=model.device)
            with torch.inference_mode():
                ids.append(int(logits_of(xlora, batch)[0, -1].argmax()))
        return XLORA_TOKENS / (bench_scale.now() - began)

    together = min(TOGETHER, len(model.layout.expert_names))
    speeds = in_turns(
        {
            "routed": lambda: routed_speed(model, [question], tokens),
            "PEFT, one LoRA": lambda: generate(one, tokens),
            f"PEFT, {together} LoRAs": lambda: generate(several, tokens),
            "PEFT X-LoRA": by_xlora,
        },
        repeats,
    )
    others = [name for name in speeds if name != "routed"]
    return {f"routed to {name}": over(speeds, "routed", name) for name in others}


def _peft(model: AtMoe, path: Path, base: str | None, count: int) -> PeftModel:
    plain = base_alone(model, base)
    names = [str(i) for i in range(min(count, len(model.layout.expert_names)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folders = [str(Path(path) / "experts" / name) for name in model.layout.expert_names]
        peft = PeftModel.from_pretrained(
            plain, folders[0], adapter_name=names[0], autocast_adapter_dtype=False
        )
        for name, folder in zip(names[1:], folders[1:]):
            peft.load_adapter(folder, adapter_name=name, autocast_adapter_dtype=False)
    peft.base_model.set_adapter(names)
    return peft.to(model.bank.dtype).eval().requires_grad_(False)
