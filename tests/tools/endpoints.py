"""The endpoints beside the page, as the app's README lists them: made from their signatures."""

from __future__ import annotations

import inspect
import re

from app.api import Api

NAMES = ("models", "schema", "route", "answer", "explain", "drafts", "score", "compare")


def endpoints() -> str:
    """A table: each endpoint with its parameters, and what its docstring says first and returns."""
    rows = ["| endpoint | parameters | what it does | returns |", "| --- | --- | --- | --- |"]
    for name in NAMES:
        method = getattr(Api, name)
        parameters = [
            f"`{p.name}`" if p.default is p.empty else f"`{p.name}={p.default!r}`"
            for p in list(inspect.signature(method).parameters.values())[1:]
        ]
        first, _, rest = inspect.getdoc(method).partition("\n")
        returns = re.sub(r"\s+", " ", rest.partition("Returns:")[2]).strip()
        cells = (f"`/{name}`", ", ".join(parameters) or "–", first, returns)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
