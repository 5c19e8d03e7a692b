"""A plan as a LoRA in GGUF, the file format of llama.cpp."""

from __future__ import annotations

from pathlib import Path

import gguf
from torch import Tensor

from atmoe import files
from atmoe.errors import PlanError
from atmoe.export.lora import as_adapter
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan


def write_gguf(model: Mixture, plan: RoutingPlan, path: Path) -> None:
    """Write a plan as a LoRA in GGUF, for a base of the Llama family.

    Args:
        model: whose experts are mixed.
        plan: what they are mixed by.
        path: of the file.

    Raises:
        PlanError: another family, whose tensors GGUF orders otherwise; or as `as_adapter` has it.
        OSError: it cannot be written.
    """
    config = model.base.config
    if config.model_type != "llama":
        raise PlanError(
            f"A plan over {config.model_type} is not written for llama.cpp; use a base of the "
            "Llama family."
        )
    adapter = as_adapter(model, plan)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.layout.layers)
    with files.appearing(path) as beside:
        writer = gguf.GGUFWriter(beside, "llama")
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 0.0)  # the scale is in B
        for name, (A, B) in adapter.factors.items():
            kind = name.rpartition(".")[2]
            if kind == "q_proj":
                B = _as_rotated(B, config.num_attention_heads)
            elif kind == "k_proj":
                B = _as_rotated(B, config.num_key_value_heads)
            gguf_name = names.get_name(name, try_suffixes=())
            for letter, factor in (("a", A), ("b", B)):
                data = factor.contiguous().numpy()
                writer.add_tensor(f"{gguf_name}.weight.lora_{letter}", data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _as_rotated(rows: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in llama.cpp's order.

    It rotates neighbours, transformers the halves of a head.
    """
    return rows.view(heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
