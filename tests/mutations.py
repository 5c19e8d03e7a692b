"""A JSON document, spoilt in a few places."""

import copy
import random

ODD = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 5e8, 1e308, -1e308, float("nan"), float("inf"),
    10**400, "", "x", "\ud800", "\x00", "a" * 300_000, [], {}, [[]], [None], {"": {}}, [0.5] * 5000,
    "fixed", "stop", "early", "1-2", [[1e9]] * 3,
)  # fmt: skip


def places(data, path=()):
    """Where every value of a JSON document stands."""
    yield path
    if isinstance(data, dict | list):
        items = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in items:
            yield from places(value, (*path, key))


def mutated(data, rng: random.Random):
    """The document with one to three values replaced, removed or doubled."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        *path, last = rng.choice([p for p in places(data) if p])
        holder = data
        for step in path:
            holder = holder[step]
        what = rng.random()
        if what < 0.15:
            del holder[last]
        elif what < 0.25 and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        else:
            holder[last] = copy.deepcopy(rng.choice(ODD))
    return data
