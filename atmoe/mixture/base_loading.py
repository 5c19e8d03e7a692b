"""A base model, loaded from where it lies on disk, and what its head makes of a product."""

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from atmoe.errors import BaseModelError
from atmoe.mixture.base import Base
from atmoe.mixture.base_cache import HALF, quiet, reason
from atmoe.prompt.template import check_template

KNOWN_HEADS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
"""Model types whose heads the tests hold equal to transformers' own."""


def load(
    base: Base, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the base as a frozen causal language model, and its tokenizer.

    Args:
        base: where it lies.
        dtype: what its weights are in.

    Returns:
        The model in evaluation mode, without gradients; and the tokenizer, which always has a
        padding token (the end-of-sequence token if it had none).

    Raises:
        BaseModelError: transformers cannot load the directory as a causal language model with all
            its weights; or its chat template cannot be used.
    """
    # 1. read it; a conversion of our own holds bfloat16 as a second set of weights
    options = {"local_files_only": True, "trust_remote_code": False}
    half = dtype is torch.bfloat16 and (base.path / f"model.{HALF}.safetensors").is_file()
    try:
        with quiet():
            model, info = AutoModelForCausalLM.from_pretrained(
                base.path,
                dtype=dtype,
                variant=HALF if half else None,
                output_loading_info=True,
                **options,
            )
            tokenizer = AutoTokenizer.from_pretrained(base.path, **options)
    except Exception as error:
        # transformers raises nearly every type here, per architecture and file format.
        fix = "pass --base with a complete causal language model"
        if (base.path / "base.json").is_file():  # one of our own conversions
            fix = "delete it to have it made again"
        raise BaseModelError(
            f"{base.path} cannot be loaded as a causal language model ({reason(error)}); {fix}."
        ) from error
    # 2. is it complete? transformers would fill what is missing with random numbers
    missing = sorted(info["missing_keys"])
    if missing:
        raise BaseModelError(
            f"{base.path} lacks {len(missing)} of the model's weights (such as {missing[0]}); "
            f"pass --base with the complete causal language model."
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise BaseModelError(
                f"The tokenizer in {base.path} has neither a padding nor an end-of-sequence token; "
                f"set one in its tokenizer_config.json."
            )
        tokenizer.pad_token = tokenizer.eos_token
    check_template(tokenizer)
    check_head(model.eval())
    # 3. memory of its own: a mapped file stays in memory for as long as one tensor is a part of it
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model.eval().requires_grad_(False), tokenizer


def scaled_and_capped(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """What a causal language model makes of its head's product, where it makes anything of it."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None)
    divisor = getattr(config, "logits_scaling", None)
    cap = getattr(config, "final_logit_softcapping", None)
    if scale is not None:
        logits = logits * scale
    if divisor is not None:
        logits = logits / divisor
    return logits if cap is None else torch.tanh(logits / cap) * cap


def check_head(model: PreTrainedModel) -> None:
    """That the logits computed here are the model's own, tried out once with three tokens.

    Raises:
        BaseModelError: its head does something that this program does not know.
    """
    if model.config.model_type in KNOWN_HEADS:
        return
    tokens = torch.arange(3, device=model.device)[None]
    try:
        with torch.inference_mode():
            logits = model(input_ids=tokens).logits
            hidden = model.base_model(input_ids=tokens).last_hidden_state
            ours = scaled_and_capped(model, model.get_output_embeddings()(hidden))
        same = torch.allclose(ours, logits, rtol=1e-2, atol=1e-2 * float(logits.abs().max()))
    except Exception:  # an architecture of another build: each fails in its own way
        same = False
    if not same:
        raise BaseModelError(
            f"The head of {type(model).__name__} computes something that this program does not "
            f"know; use a Llama-, Qwen- or Gemma-style base model."
        )
