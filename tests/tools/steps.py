"""What decoding token by token gives up in each precision: the loss of reference answers, and how
often the likeliest token is the one that float32 has.

    PYTHONPATH=.:tests python tests/tools/steps.py --medquad DIR --pubmedqa DIR --mts-dialog DIR

Each answer's tokens are forced, one step after the other, through what decodes: `evaluate` reads an
answer as a prompt is read, where int4 is bfloat16. The plans are the router's own, of float32.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing

import torch
from tools.unseen import arguments, chosen
from torch import Tensor

from atmoe import AtMoe, RoutingPlan
from atmoe.answer.decoder import decoder
from atmoe.answer.prefill import prefill

ROWS = 8


def forced(
    model: AtMoe, prompts: Sequence[str], answers: Sequence[list[int]], plans: Sequence[RoutingPlan]
) -> tuple[list[Tensor], list[Tensor]]:
    """Of each token of each answer, step by step: its loss, and the likeliest token there."""
    logits, _, cache, batch = prefill(model, [model.encode(p) for p in prompts], list(plans))
    longest = max(map(len, answers))
    padded = [a + [a[-1]] * (longest - len(a)) for a in answers]
    weights = model.weights_of(plans, len(prompts))
    losses, best = [], []
    with closing(decoder(model, batch, cache, weights, longest)) as decode:
        for step in range(longest):
            targets = torch.tensor([row[step] for row in padded])
            logp = logits.float().log_softmax(-1)
            losses.append(-logp.gather(1, targets[:, None])[:, 0])
            best.append(logp.argmax(-1))
            if step < longest - 1:
                logits = decode(targets.tolist())
    by_row = zip(torch.stack(losses, 1), torch.stack(best, 1), answers)
    return tuple(map(list, zip(*((loss[: len(a)], token[: len(a)]) for loss, token, a in by_row))))  # type: ignore[return-value]


def main() -> None:
    parser = arguments(__doc__, limit=44, tokens=96)
    parser.add_argument("--precisions", default="float32,bfloat16,int4")
    args = parser.parse_args()
    examples = chosen(args)
    names = args.precisions.split(",")
    models = {name: AtMoe.from_pretrained(args.model, dtype=name) for name in names}
    first = models[names[0]]
    tokens = [first.encode_answer(e.answer)[: args.tokens] for e in examples]
    order = sorted(range(len(examples)), key=lambda i: len(tokens[i]))
    loss = dict.fromkeys(names, 0.0)
    same = dict.fromkeys(names, 0)
    total = 0
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        prompts, answers = [examples[i].prompt for i in rows], [tokens[i] for i in rows]
        plans = [first.route(prompt) for prompt in prompts]
        found = {name: forced(model, prompts, answers, plans) for name, model in models.items()}
        for name, (losses, best) in found.items():
            loss[name] += float(torch.cat(losses).sum())
            same[name] += int((torch.cat(best) == torch.cat(found[names[0]][1])).sum())
        total += sum(map(len, answers))
    report = {
        "answers": len(examples),
        "tokens": total,
        "nats_a_token": {name: round(value / total, 4) for name, value in loss.items()},
        "likeliest_as_in_the_first": {name: round(n / total, 4) for name, n in same.items()},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
