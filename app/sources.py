"""What a model's index says of a question → HTML: how familiar it is, and what lies near it.

It says where a question lies, never whether an answer is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from atmoe.report.words import item, listing
from atmoe.sources.value import NOT_PROOF, Found, Source, sentence_of
from atmoe.wording import NO_PRAISE

NEAREST = "Nearest in training"


def told(found: Found | None) -> str:
    """Whether the question is like those in training, and the nearest of them on demand.

    Args:
        found: what the index says; None = there is none, or no router read the question.
    """
    if found is None:
        return f'<p class="sources">{escape(sentence_of(None))}</p>'
    far = ' class="far"' if found.far else ""
    return (
        f'<div class="sources"><span{far}>{"⚠ " * found.far}{escape(found.sentence)}</span> '
        f"{'' if found.far else NO_PRAISE} "
        f'<details class="popover nearest"><summary>{NEAREST}</summary>'
        f"<div>{listing(found.nearest)}</div></details></div>"
    )


def caution(found: Found | None) -> str:
    """What is to be read before an answer; empty where the question is not far from training."""
    return found.sentence if found is not None and found.far else ""


def faces(nearest: Mapping[str, tuple[Source, ...]]) -> str:
    """What lies nearest among each expert's own training examples.

    Args:
        nearest: by the expert's full name.
    """
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>'
        f"{'; '.join(map(item, sources)) or '–'}</td></tr>"
        for name, sources in nearest.items()
    )
    return (
        f"<p>{escape(NOT_PROOF.capitalize())}.</p>"
        '<table class="lenses" data-name="nearest in training, by expert">'
        f'<thead><tr><th scope="col">expert</th>'
        f'<th scope="col">nearest of its training examples</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )
