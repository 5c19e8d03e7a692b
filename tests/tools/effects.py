"""By how much measured effects differ in bfloat16, which the page explains in, from float32's:

    PYTHONPATH=.:tests python tests/tools/effects.py --medquad DIR --pubmedqa DIR --mts-dialog DIR

Answers of unseen topics are written in float32, under the router's plan of float32, and each is
explained in both. The plan itself is read in both too: is everybody's largest share the same?
"""

from __future__ import annotations

import json

from tools.unseen import arguments, chosen

from atmoe import AtMoe, Sampling
from atmoe.explanation.measure import explain
from atmoe.explanation.verdict import verdict


def main() -> None:
    args = arguments(__doc__, limit=4, tokens=64).parse_args()
    examples = chosen(args)
    exact, page = (
        AtMoe.from_pretrained(args.model, dtype=name) for name in ("float32", "bfloat16")
    )
    differences: list[float] = []
    verdicts = teams = largest = shares = 0
    for example in examples:
        record = exact.answer(example.prompt, sampling=Sampling(args.tokens))
        ours, theirs = explain(exact, record), explain(page, record)
        differences += [abs(a.effect - b.effect) for a, b in zip(ours.units, theirs.units)]
        verdicts += verdict(ours).level is verdict(theirs).level
        plan = page.route(example.prompt)
        teams += record.plan.team == plan.team
        one, other = record.plan.expert_shares, plan.expert_shares
        for group in plan.layout.group_names:
            experts = plan.layout.members(group)
            alike = one[:, experts].argmax(-1) == other[:, experts].argmax(-1)
            largest, shares = largest + int(alike.sum()), shares + len(alike)
    differences.sort()
    report = {
        "answers": len(examples),
        "effects": len(differences),
        "differs_at_most": round(differences[-1], 5),
        "differs_by_95_percent": round(differences[int(0.95 * len(differences))], 5),
        "within_0.002": round(sum(d <= 0.002 for d in differences) / len(differences), 4),
        "same_verdict": verdicts,
        "same_team": teams,
        "same_largest_share": round(largest / shares, 4),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
