"""AT-MoE: a frozen language model, named LoRA experts, and a router that one can read and steer.

The router shares weight between the experts layer by layer, group by group (arXiv 2410.10896).

    prompt → routing → steering → answer → explanation → record

>>> from atmoe import AtMoe, Steering, Override, State
>>> model = AtMoe.from_pretrained("assets/medical")
>>> plan = model.route("My father has Parkinson's disease. How is it treated?")
>>> steered = Steering((Override("audience/patient", State.FIXED, 1.0),)).apply(plan)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atmoe.answer.generation import Generation, Step
    from atmoe.answer.sampling import Sampling
    from atmoe.errors import AtMoeError
    from atmoe.model import AtMoe
    from atmoe.record import Record
    from atmoe.routing.layout import Layout
    from atmoe.routing.plan import RoutingPlan
    from atmoe.steering.overrides import Override, State, Steering

__version__ = "0.2.0"

# Loaded when first used: torch and transformers take seconds, and `atmoe --help` needs neither.
_HOMES = {
    "AtMoe": "atmoe.model",
    "AtMoeError": "atmoe.errors",
    "Generation": "atmoe.answer.generation",
    "Layout": "atmoe.routing.layout",
    "Override": "atmoe.steering.overrides",
    "Record": "atmoe.record",
    "RoutingPlan": "atmoe.routing.plan",
    "Sampling": "atmoe.answer.sampling",
    "State": "atmoe.steering.overrides",
    "Steering": "atmoe.steering.overrides",
    "Step": "atmoe.answer.generation",
}

__all__ = [
    "AtMoe",
    "AtMoeError",
    "Generation",
    "Layout",
    "Override",
    "Record",
    "RoutingPlan",
    "Sampling",
    "State",
    "Steering",
    "Step",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
