"""X-LoRA learns from the batches that the router is refined on, and stops as it does."""

import torch
from conftest import LAYOUT
from safetensors.torch import load_file
from test_stopping import EXAMPLES
from test_train import DESCRIBED, small_batches  # noqa: F401  # a fixture

from atmoe.train import loop
from atmoe.train.baseline import XloraSettings, train_xlora
from atmoe.train.router import train_router
from atmoe.train.settings import RouterSettings


def test_the_default_is_what_the_router_is_refined_on(llama, tmp_path, monkeypatch):
    noted, run = [], loop.run

    def note(**more):
        batches = list(more["batches"])
        ids = [[row.example.id for row in rows] for rows in batches]
        stopping = more["stopping"]
        noted.append((more["budget"], ids, stopping.every, stopping.patience))
        return run(**more | {"batches": iter(batches[:4])})

    monkeypatch.setattr(loop, "run", note)
    model = llama.build()
    model.save_pretrained(tmp_path / "model")
    base, xlora = str(llama.found.path), tmp_path / "xlora"
    settings = XloraSettings(learning_rate=1e-2, dtype="float32")
    data = (EXAMPLES, DESCRIBED)
    report = train_xlora(model, tmp_path / "model", base, *data, xlora, settings)
    few = RouterSettings(
        instructions=20, fit_steps=5, fit_decays=(0.1,), effect_answers=2, dtype="float32"
    )
    refined = train_router(model, *data, tmp_path / "model", few)
    assert noted[0] == noted[1] and len(noted[0][1]) > 3
    assert report["budget"] == refined["budget"]
    # the lowest is kept, and the gain is the router's first
    assert report["xlora"] <= report["before"]["xlora"]
    (saved,) = xlora.glob("*.safetensors")
    first = 0.5 * len(LAYOUT.groups)
    assert torch.equal(load_file(saved)["gain"], torch.tensor(first)) and first == 1.5
    assert report["settings"]["gain"] == first
