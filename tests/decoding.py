"""The engine beside transformers, token by token."""

from contextlib import closing

import torch

from atmoe.answer.decoder import Decoder, Plain, decoder
from atmoe.answer.prefill import prefill

CLOSE = dict(rtol=1e-5, atol=1e-5)  # float32


def read_by_transformers(model, prompts, plans=None):
    """As `prefill`, by transformers whatever the base."""
    batch = model.collate(prompts)
    with torch.inference_mode():
        hidden, plans, cache = model.forward(batch, plans, logits=False, use_cache=True)
        return model.logits(hidden[:, -1]), plans, cache, batch


def last_of(generation):
    *_, last = generation
    return last


def both(model, prompts, plans, tokens):
    """Logits of every step, by transformers and the engine, after the tokens transformers chose.

    Returns:
        Two [rows, tokens, vocabulary], the tokens [rows, tokens], and the engine's name for what it
        did.
    """
    encoded = [model.encode(p) for p in prompts]
    weights = model.weights_of(plans, len(prompts))
    logits, _, cache, batch = read_by_transformers(model, encoded, plans)
    plain, chosen = Plain(model, batch, cache, weights), []
    want = []
    for _ in range(tokens):
        chosen.append(logits.argmax(-1).tolist())
        logits = plain(chosen[-1])
        want.append(logits)
    _, _, cache, batch = prefill(model, encoded, plans)
    with closing(decoder(model, batch, cache, weights, tokens)) as lean:
        got = [lean(token) for token in chosen]
    assert isinstance(lean, Decoder)
    return torch.stack(want, 1), torch.stack(got, 1), torch.tensor(chosen).T, lean.name
