"""What things cost, as ratios of two sides that take turns in one run."""

PARTS = (
    "explanation",
    "decoding",
    "page",
    "rows",
    "prefill",
    "sizes",
    "precision",
    "peers",
    "start",
    "profile",
    "load",
    "memory",
)
"""What can be measured, in its order; here, for what measures it takes long to import."""
UNLESS_ASKED = PARTS[:-2]
"""Where nobody says what; the others start the page, which is in a checkout only."""
