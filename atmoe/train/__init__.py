"""How the experts, the router and the baselines are trained."""
