"""AT-MoE: a frozen language model, LoRA experts with names, and a router that shares weight between them layer by
layer, group by group (arXiv 2410.10896).

    prompt → routing → steering → answer → record

>>> from atmoe import AtMoe, Steering, Override, State
>>> model = AtMoe.from_pretrained("assets/medical")
>>> plan = model.route("My father has Parkinson's disease. How is it treated?")
>>> steered = Steering((Override("audience/patient", State.FIXED, 1.0),)).apply(plan)
"""

from atmoe.decode import Generation, Sampling, Step
from atmoe.errors import AtMoeError
from atmoe.model import AtMoe
from atmoe.plan import Layout, RoutingPlan
from atmoe.record import Record
from atmoe.steering import Override, State, Steering

__all__ = ["AtMoe", "AtMoeError", "Generation", "Layout", "Override", "Record", "RoutingPlan", "Sampling", "State",
           "Steering", "Step"]
