"""The same mixture by llama.cpp: a plan, constant while an answer is decoded, is one LoRA there.

The LoRA is written as a GGUF adapter beside the base's own GGUF file. llama.cpp is what somebody
might run instead, without seeing or steering anything; `pip install llama-cpp-python` brings it,
and nothing else here needs it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from atmoe.bench import scale as bench_scale
from atmoe.bench.page import page_speed
from atmoe.bench.scale import in_turns, over, routed_speed
from atmoe.errors import AtMoeError
from atmoe.export.gguf_file import write_gguf
from atmoe.mixture.precision import usable
from atmoe.model import AtMoe
from atmoe.routing.plan import RoutingPlan


class LlamaCpp:
    """A plan over a base in GGUF.

    Args:
        model: whose experts are mixed.
        base: the GGUF file that `model` was converted from, of the Llama family.
        plan: what they are mixed by.
        tokens: at most, of prompt and answer.

    Raises:
        AtMoeError: llama-cpp-python is not installed, or it cannot read the file.
    """

    def __init__(self, model: AtMoe, base: Path, plan: RoutingPlan, tokens: int = 1024):
        try:
            from llama_cpp import Llama
        except ImportError as error:
            raise AtMoeError(
                "llama.cpp is not installed; pip install llama-cpp-python, or leave --gguf out."
            ) from error
        with tempfile.TemporaryDirectory() as room:
            adapter = Path(room) / "plan.gguf"
            write_gguf(model, plan, adapter)
            threads = torch.get_num_threads()
            try:
                self._llama = Llama(
                    str(base),
                    lora_path=str(adapter),
                    n_ctx=tokens,
                    n_threads=threads,
                    n_threads_batch=threads,
                    verbose=False,
                )
            except (ValueError, RuntimeError) as error:
                raise AtMoeError(
                    f"llama.cpp cannot read {base} with an adapter of this model ({error})."
                ) from error

    def read(self, ids: Sequence[int]) -> None:
        """Read a prompt, and forget whatever was read before."""
        self._llama.reset()
        self._llama.eval(ids)

    def logits(self) -> np.ndarray:
        """Those of the token that comes next, [vocabulary]."""
        from llama_cpp import llama_get_logits

        return np.ctypeslib.as_array(llama_get_logits(self._llama.ctx), (self._llama.n_vocab(),))

    def step(self) -> None:
        """Add the likeliest token."""
        self._llama.eval([int(self.logits().argmax())])

    def speed(self, ids: Sequence[int], tokens: int) -> float:
        """Tokens a second after the prompt, greedy, whatever they say."""
        self.read(ids)
        began = bench_scale.now()
        for _ in range(tokens - 1):
            self.step()
        return (tokens - 1) / (bench_scale.now() - began)


def llama(
    model: AtMoe, path: Path, base: str | None, file: Path, question: str, tokens: int, repeats: int
) -> dict[str, list[float]]:
    """Decoding a routed plan in int8, and as the model is, against llama.cpp under the same one.

    And as the page decodes for somebody alone, where the processor takes int4.
    """
    small = AtMoe.from_pretrained(path, base, "int8", device="cpu")
    page = AtMoe.from_pretrained(path, base, "int4", device="cpu") if "int4" in usable() else None
    prompt = model.encode(question)
    other = LlamaCpp(model, file, model.route(question), len(prompt.ids) + tokens)
    speeds = in_turns(
        {
            "llama.cpp": lambda: other.speed(prompt.ids, tokens),
            "int8": lambda: routed_speed(small, [question], tokens),
            "model": lambda: routed_speed(model, [question], tokens),
            **({"page": lambda: page_speed(page, [question], tokens)} if page else {}),
        },
        repeats,
    )
    return {
        "int8 to llama.cpp": over(speeds, "int8", "llama.cpp"),
        "the model to llama.cpp": over(speeds, "model", "llama.cpp"),
        **({"page in int4 to llama.cpp": over(speeds, "page", "llama.cpp")} if page else {}),
    }
