"""Other ways to mix the very same experts, by PEFT itself.

They are X-LoRA (arXiv 2402.07148) and Arrow (arXiv 2405.11157), and stand beside the router in
`evaluate --baselines`. Both weight experts token by token and have no groups, no names in their
routing and no plan that could be set by hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, XLoraConfig, get_peft_model
from peft.tuners.lora import ArrowConfig, create_arrow_model
from safetensors.torch import load_file, save
from torch import Tensor

from atmoe import files
from atmoe.errors import AssetError
from atmoe.mixture import base_loading, store
from atmoe.model import AtMoe
from atmoe.prompt.batch import Batch, collate

CLASSIFIER = "xlora_classifier.safetensors"


def base_alone(model: AtMoe, base: str | None) -> Any:
    """The base model again, on its own: PEFT puts its layers into the one it is given.

    Args:
        model: whose base it is, and in whose precision.
        base: as `atmoe.mixture.base.fetch` takes it; None = `model`'s own.

    Raises:
        BaseModelError: it cannot be had.
    """
    fetched = store.base_of(model.info, base)
    return base_loading.load(fetched, model.bank.dtype)[0].to(model.device)


def arrow_model(model: AtMoe, experts: Path, base: str | None, seed: int = 0) -> PeftModel:
    """PEFT's Arrow over saved experts, with its defaults: three experts a token, temperature 1.

    Args:
        model: whose experts they are; its base is loaded again.
        experts: the directory of the saved AT-MoE.
        base: the base model, as `atmoe.mixture.base.fetch` takes it; None = `model`'s own.
        seed: of Arrow's own draws.

    Raises:
        AssetError: PEFT cannot combine these experts; Arrow needs equal ranks and modules.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            arrow = create_arrow_model(
                base_alone(model, base),
                _paths(model, experts),
                ArrowConfig(top_k=min(3, len(model.layout.expert_names)), rng_seed=seed),
            )
        except ValueError as error:
            raise AssetError(
                f"PEFT's Arrow cannot combine these experts ({error}); it needs equal ranks and "
                f"modules."
            ) from error
    return arrow.to(model.bank.dtype).eval().requires_grad_(False)


def xlora_model(model: AtMoe, experts: Path, base: str | None, gain: float = 1.0) -> PeftModel:
    """PEFT's X-LoRA over saved experts, with a scaling for each linear and token.

    Its classifier, fresh from torch's global seed, is all that is trainable.

    Args:
        model: whose experts they are; its base is loaded again.
        experts: the directory of the saved AT-MoE.
        base: the base model, as `atmoe.mixture.base.fetch` takes it; None = `model`'s own.
        gain: what the scalings, which sum to 1, are multiplied by.
    """
    plain = base_alone(model, base)
    plain.config.use_cache = False
    # PEFT files X-LoRA's scalings by position, and loads the adapters under these names alone.
    adapters = {str(i): path for i, path in enumerate(_paths(model, experts))}
    config = XLoraConfig(
        task_type="CAUSAL_LM",
        hidden_size=plain.config.get_text_config().hidden_size,
        adapters=adapters,
        layerwise_scalings=True,
        xlora_depth=1,
        global_scaling_weight=gain,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xlora = get_peft_model(plain, config)
    for name, parameter in xlora.named_parameters():
        if ".lora_" in name:  # PEFT casts experts to float32 on loading
            parameter.data = parameter.data.to(model.bank.dtype)
        parameter.requires_grad = "internal_xlora_classifier" in name
    return xlora.eval()


def save_classifier(xlora: PeftModel, path: Path) -> None:
    """Write X-LoRA's classifier and its gain into a directory, which need not exist yet."""
    path.mkdir(parents=True, exist_ok=True)
    classifier = _classifier(xlora)
    state = {k: v.detach().cpu().contiguous() for k, v in classifier.state_dict().items()}
    state |= {"gain": torch.tensor(classifier.config.global_scaling_weight)}
    files.replace(path / CLASSIFIER, save(state))


def load_classifier(xlora: PeftModel, path: Path) -> PeftModel:
    """Take over a classifier and its gain from where `save_classifier` wrote them.

    Raises:
        AssetError: there is none, or it belongs to other experts.
    """
    try:
        state = load_file(str(path / CLASSIFIER))
        xlora.base_model.set_global_scaling_weight(float(state.pop("gain")))
        _classifier(xlora).load_state_dict(state)
    except Exception as error:  # safetensors, torch and the file system each raise their own
        raise AssetError(
            f"{path} holds no X-LoRA classifier for these experts; train it with  python -m atmoe "
            f"train baseline xlora."
        ) from error
    return xlora


def logits_of(peft: PeftModel, batch: Batch) -> Tensor:
    """Logits at every token [rows, tokens, vocabulary]."""
    return peft(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False).logits


def score_rows(
    model: AtMoe, peft: PeftModel, prompts: Sequence[str], answers: Sequence[str]
) -> list[Tensor]:
    """As `AtMoe.score_rows`, by another model over the same base: the same tokens.

    Args:
        model: whose encoding and device are used.
        peft: what scores.
        prompts: one a row.
        answers: one a row.

    Returns:
        One [answer tokens] tensor a row, natural logarithm, float32.
    """
    encoded = [model.encode(prompt) for prompt in prompts]
    tails = [model.encode_answer(answer) for answer in answers]
    batch = collate(
        encoded,
        tails,
        pad=model.tokenizer.pad_token_id,
        side="right",
        multiple=16,
        device=model.device,
    )
    scores = []
    with torch.inference_mode():
        logits = logits_of(peft, batch)
        for row, (prompt, tail) in enumerate(zip(encoded, tails)):
            start = len(prompt.ids) - 1
            logp = logits[row, start : start + len(tail)].float().log_softmax(-1)
            targets = torch.tensor(tail, device=logp.device)
            scores.append(logp.gather(1, targets[:, None])[:, 0].cpu())
    return scores


def _classifier(xlora: PeftModel) -> Any:
    return xlora.base_model.internal_xlora_classifier


def _paths(model: AtMoe, experts: Path) -> list[str]:
    return [str(Path(experts) / "experts" / name) for name in model.layout.expert_names]
