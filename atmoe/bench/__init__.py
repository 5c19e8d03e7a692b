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
QUESTION = (
    "My father has Parkinson's disease. What can be done for the tremor, and how will it go on?"
)
QUESTIONS = (
    QUESTION,
    "How is asthma treated?",
    "What causes gout, and who gets it?",
    "How is diabetes diagnosed?",
    "What is cystic fibrosis?",
    "Summarise the outlook for a woman with early breast cancer.",
    "Is aspirin of use after a stroke?",
    "How is malaria prevented?",
)
"""Eight people's, so that their plans differ."""
