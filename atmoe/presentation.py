"""What a model says of itself where people meet it: title, warning, examples, presets, notes.

It stands in the description, and from there in atmoe.json; whatever is left out is neutral:

    page:
      title: Kitchen Explorer
      about: Recipes and substitutes, and which experts wrote them.   # of links to the page
      warning: Research demo. Nothing here was cooked.     # the first sentence is shown bold
      ask: Ask for a recipe                                # in the question box, and in the tour
      examples: [How do I bake bread?]
      presets: {Vegan: {diet/vegan: 100}, No diet: {diet: "off"}}     # shares in percent, or off
      notes: "**How far to trust the weights.** …"         # Markdown, at the end of the help
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from atmoe.wording import meant

Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Percent = Annotated[float, Field(ge=0, le=100)]
# YAML reads a bare `off` as False.
Share = Annotated[
    Percent | Literal["off"], BeforeValidator(lambda raw: "off" if raw is False else raw)
]


class Page(BaseModel):
    """What the page says of a model. Every field has a neutral default.

    Attributes:
        title: of the page.
        about: one sentence, for links to it.
        warning: what must be known before anything is read.
        ask: what to do with the question box, without a full stop.
        examples: questions to begin with; nothing is claimed of their answers.
        presets: by the button's name: a group's or expert's share in percent, or "off".
        notes: Markdown, at the end of the help.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: Short = "AT-MoE Explorer"
    about: Sentence = (
        "See which experts answer a question, layer by layer, and set their shares by hand."
    )
    warning: Sentence = "Research demo."
    ask: Short = "Ask a question"
    examples: Annotated[tuple[Sentence, ...], Field(max_length=20)] = ()
    presets: Annotated[dict[Short, dict[str, Share]], Field(max_length=12)] = {}
    notes: Annotated[str, Field(max_length=20_000)] = ""

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON takes it."""
        return self.model_dump(mode="json", exclude_defaults=True)


NEUTRAL = Page()
"""What is said of a model that says nothing of itself."""


def page_of(value: object, targets: Collection[str]) -> Page:
    """What a file says under `page`.

    Args:
        value: whatever it says; an empty mapping is all defaults.
        targets: the groups and experts ("group/expert") that a preset may set.

    Raises:
        ValueError: a field that is none, or one that is too long or of another kind.
    """
    try:
        page = Page.model_validate(value)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in ("page", *first["loc"]))
        if first["type"] == "extra_forbidden":
            like = meant(str(first["loc"][-1]), Page.model_fields)
            raise ValueError(f"{place[:80]} means nothing here{like}") from None
        raise ValueError(f"{place[:80]}: {first['msg'][:160]}") from None
    for name, settings in page.presets.items():
        for target in settings:
            if target not in targets:
                like = meant(target, targets)
                raise ValueError(
                    f"the preset {name!r} sets {target[:80]!r}, which there is not{like}"
                )
    return page
