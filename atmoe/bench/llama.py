"""The same mixture by llama.cpp: a plan, constant while an answer is decoded, is one LoRA there.

    B = [B_1 · m_1 α_1/r_1 … B_E · m_E α_E/r_E]    A = [A_1; …; A_E]    of each linear, by layer

Here m_i is what the plan multiplies expert i by. The LoRA is written as a GGUF adapter beside the
base's own GGUF file. llama.cpp is what somebody might run instead, without seeing or steering
anything; `pip install llama-cpp-python` brings it, and nothing else here needs it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import gguf
import numpy as np
import torch
from torch import Tensor

from atmoe.bench import scale as bench_scale
from atmoe.bench.scale import in_turns, over, routed_speed
from atmoe.errors import AtMoeError
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
            write_lora(model, plan, adapter)
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
    """Decoding a routed plan in int8, and as the model is, against llama.cpp under the same one."""
    small = AtMoe.from_pretrained(path, base, "int8")
    prompt = model.encode(question)
    other = LlamaCpp(model, file, model.route(question), len(prompt.ids) + tokens)
    speeds = in_turns(
        {
            "llama.cpp": lambda: other.speed(prompt.ids, tokens),
            "int8": lambda: routed_speed(small, [question], tokens),
            "model": lambda: routed_speed(model, [question], tokens),
        },
        repeats,
    )
    return {
        "int8 to llama.cpp": over(speeds, "int8", "llama.cpp"),
        "the model to llama.cpp": over(speeds, "model", "llama.cpp"),
    }


def write_lora(model: AtMoe, plan: RoutingPlan, path: Path) -> None:
    """A plan as a LoRA in GGUF, for a base of the Llama family.

    Raises:
        AtMoeError: another family, whose tensors GGUF orders otherwise.
    """
    config = model.base.config
    if config.model_type != "llama":
        raise AtMoeError(
            f"A plan over {config.model_type} is not written for llama.cpp; use a base of the "
            "Llama family."
        )
    weights = model.weights_of([plan], 1)[0] * model.bank.scaling
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.layout.layers)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)  # the scale is in B
    for name, linear in model.bank.linears.items():
        B = linear.B.detach().float() * weights[linear.layer, linear.expert_of_rank]
        kind = name.rpartition(".")[2]
        if kind == "q_proj":
            B = _as_rotated(B, config.num_attention_heads)
        elif kind == "k_proj":
            B = _as_rotated(B, config.num_key_value_heads)
        gguf_name = names.get_name(name, try_suffixes=())
        for letter, factor in (("a", linear.A.detach().float()), ("b", B)):
            writer.add_tensor(
                f"{gguf_name}.weight.lora_{letter}", factor.cpu().contiguous().numpy()
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_rotated(rows: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in llama.cpp's order.

    It rotates neighbours, transformers the halves of a head.
    """
    return rows.view(heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
