"""Where an answer comes from, and whether a question is like anything that the experts learned.

    examples ─ fitting ─► Index ─ save ─► index/ beside the model ─ load ─► model.index
    question, what the planner read of it ─ Index.found ─► familiarity and the nearest examples

An index holds facts and addresses alone: no sentence of any corpus.
"""
