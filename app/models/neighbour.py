"""Another model that is served beside a page's own."""

from __future__ import annotations

from dataclasses import dataclass

from app.serving import Serving


@dataclass(frozen=True)
class Neighbour:
    """A model, and where its page is.

    Attributes:
        name: what it is called here; no two are called the same.
        address: of its page, from this one.
        serving: the model at work.
    """

    name: str
    address: str
    serving: Serving
