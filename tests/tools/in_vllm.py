"""Whether vLLM answers under exported plans as we do: token by token, alone and side by side.

    PYTHONPATH=. python tests/tools/in_vllm.py write DIR        # with this project's packages
    python tests/tools/in_vllm.py compare DIR                   # with vLLM's, which are others

The first answers six questions, each under a steering of its own, and exports their plans; the
second asks vLLM the same under those LoRAs. Both in float32, greedily.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atmoe import AtMoe, Steering

TOKENS = 60


def asked(model: AtMoe) -> dict[str, tuple[str, Steering]]:
    """Questions and steerings, by what is peculiar to the steering."""
    from atmoe import Override, State, Steering

    everybody = tuple(
        Override(f"{group}/{expert}", State.FIXED, 1 / len(experts))
        for group, experts in model.layout.groups
        for expert in experts
    )
    early = Override("task", State.OFF, None, "early")
    return {
        "the router's": ("How is asthma treated?", Steering()),
        "without a group": (
            "How is asthma treated?",
            Steering((Override("specialty", State.OFF),)),
        ),
        "two needs": ("What causes Parkinson's disease and how is it treated?", Steering()),
        "half as strong again": ("Is cystic fibrosis inherited?", Steering(strength=1.5)),
        "in some layers": ("What are the symptoms of gout?", Steering((early,))),
        "everybody": ("What are the symptoms of gout?", Steering(everybody)),
    }


def write(folder: Path, directory: str) -> None:
    """Answer each question and export its plan."""
    from atmoe import AtMoe, Sampling
    from atmoe.export.lora import write_peft

    model = AtMoe.from_pretrained(directory)
    folder.mkdir(parents=True)
    rows = []
    for number, (name, (question, steering)) in enumerate(asked(model).items()):
        record = model.answer(question, steering, Sampling(max_new_tokens=TOKENS))
        lora = folder.absolute() / str(number)
        write_peft(model, record.plan, lora)
        row = {"name": name, "lora": str(lora), "tokens": list(record.answer_tokens)}
        rows.append(row | {"prompt": list(model.encode(question).ids)})
    about = {"base": model.base.name_or_path, "rows": rows}
    (folder / "rows.json").write_text(json.dumps(about))


def compare(folder: Path) -> None:
    """Ask vLLM the same, one by one and all at once."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    about = json.loads((folder / "rows.json").read_text())
    rows = about["rows"]
    engine = LLM(
        about["base"],
        dtype="float32",
        enable_lora=True,
        max_lora_rank=64,
        max_model_len=512,
        enforce_eager=True,
    )
    greedily = SamplingParams(temperature=0, max_tokens=TOKENS)
    prompts = [{"prompt_token_ids": row["prompt"]} for row in rows]
    loras = [LoRARequest(row["name"], 1 + i, row["lora"]) for i, row in enumerate(rows)]
    sides = {
        "alone": [
            engine.generate([p], greedily, lora_request=a)[0] for p, a in zip(prompts, loras)
        ],
        "side by side": engine.generate(prompts, greedily, lora_request=loras),
    }
    for side, answers in sides.items():
        for row, answer in zip(rows, answers):
            ours, theirs = row["tokens"], list(answer.outputs[0].token_ids)
            same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), len(ours))
            said = "the same" if ours == theirs else f"another from token {same} on"
            print(f"{side}, {row['name']}: {len(ours)} tokens, {said}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("write", "compare"))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--model", default="assets/medical")
    args = parser.parse_args()
    if args.what == "write":
        write(args.folder, args.model)
    else:
        compare(args.folder)
