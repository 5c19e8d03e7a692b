"""How much weight each expert has at each layer: the plan, and the router that makes it."""
