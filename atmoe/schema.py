"""The JSON that comes in and goes out, stated once: names, types, ranges and sizes.

    data ─ checked(RecordJson, data, …) ─► the same data, or one sentence that names what is wrong

Everything is checked before anything is built: a size is not used before it is known to be small,
and what is refused leaves nothing half-made. `RecordJson.model_json_schema()` is the published
schema; steering, plans and explanations are parts of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from atmoe.errors import AtMoeError
from atmoe.wording import meant

FORMAT = 1
MOST_LAYERS, MOST_NAMES, MOST_OVERRIDES, MOST_TOKENS = 1024, 1024, 4096, 4096
MOST_LETTERS, MOST_UNITS, MOST_BYTES = 200_000, 8192, 2**23
MOST_WORD = 16
MOST_ADDRESS = 500
"""An address may have so many characters; longer ones hold a query rather than name a page."""
# What no address holds unescaped, and what could end one in a page.
_NO_LINK = frozenset(' "<>\\`{}|^')
SEEDS = 2**63
"""A seed is a whole number from 0 up, below this one: what torch's generators take."""


def _encodable(text: str) -> str:
    """Raises: ValueError, where a text holds half a surrogate pair and cannot be written."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds a lone surrogate") from None
    return text


def address_of(text: str) -> str:
    """An address that a page may link to.

    Args:
        text: whatever a corpus or a file says.

    Returns:
        It, without spaces around; "" where it is none of http or https, names no host or whom to
        log in as, or cannot stand in a link.
    """
    text = text.strip()
    if not 0 < len(text) <= MOST_ADDRESS or not text.isprintable() or _NO_LINK & set(text):
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return text if usable else ""


def _linkable(text: str) -> str:
    """Raises: ValueError, where an address is neither empty nor one to link to."""
    if text and address_of(text) != text:
        raise ValueError("it is no address of http or https")
    return text


Text = Annotated[str, Field(max_length=MOST_LETTERS), AfterValidator(_encodable)]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_encodable)]
Target = Annotated[str, Field(min_length=1, max_length=401), AfterValidator(_encodable)]
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Share = Annotated[float, Field(ge=0, le=1.001)]
Factor = Annotated[float, Field(ge=0, le=1e6)]
Row = Annotated[list[Share], Field(max_length=MOST_NAMES)]
Rows = Annotated[list[Row], Field(max_length=MOST_LAYERS)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(max_length=MOST_TOKENS)]
Nats = Annotated[float, Field(ge=-500, le=500)]
"""A log-probability per token, or a difference of two: beyond e^500 nothing is a probability."""
Amount = Annotated[float, Field(ge=0, le=1e9)]
Effects = Annotated[list[Nats], Field(max_length=MOST_TOKENS)]


class Json(BaseModel):
    """What all parts share: no type is taken for another, and no number is not a number."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class GroupJson(Json):
    """A group and its experts, in their order."""

    name: Name
    experts: Annotated[list[Name], Field(min_length=1, max_length=MOST_NAMES)]


class LayoutJson(Json):
    """The names that shares are about."""

    layers: Layers
    groups: Annotated[list[GroupJson], Field(min_length=1, max_length=MOST_NAMES)]


class PlanJson(LayoutJson):
    """Group shares [layers, groups], in-group shares [layers, experts], strength [layers].

    team: the experts that have a share in some layer.
    likely: how likely each expert was taken to be asked for, [experts]; absent = not known.
    """

    group_shares: Rows
    expert_shares: Rows
    team: Annotated[list[Target], Field(max_length=MOST_NAMES)] | None = None
    strength: Annotated[list[Factor], Field(max_length=MOST_LAYERS)] | None = None
    likely: Row | None = None

    @model_validator(mode="after")
    def _shapes(self) -> PlanJson:
        experts = sum(len(group.experts) for group in self.groups)
        for name, rows, width in (
            ("group_shares", self.group_shares, len(self.groups)),
            ("expert_shares", self.expert_shares, experts),
        ):
            if len(rows) != self.layers or any(len(row) != width for row in rows):
                raise ValueError(f"{name} is not of the shape {self.layers} × {width}")
        if self.strength is not None and len(self.strength) != self.layers:
            raise ValueError(f"strength is not of the length {self.layers}")
        if self.likely is not None and len(self.likely) != experts:
            raise ValueError(f"likely is not of the length {experts}")
        return self


class Closed(Json):
    """What people write by hand: a field of another name is refused, as it would change nothing."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        for name in data if isinstance(data, dict) else ():
            if name not in cls.model_fields:
                fields = ", ".join(cls.model_fields)
                raise ValueError(f"{str(name)[:40]!r} is no field; the fields are {fields}")
        return data


class OverrideJson(Closed):
    """One override of a steering.  layers: all, early, middle, late, or A-B."""

    target: Target
    state: Literal["router", "fixed", "off"]
    share: Share | None = None
    layers: Annotated[str, Field(max_length=20)] = "all"


class SteeringJson(Closed):
    """All overrides of one call, and the strength that multiplies the experts."""

    strength: Annotated[float, Field(ge=0, le=2)] = 1.0
    overrides: Annotated[list[OverrideJson], Field(max_length=MOST_OVERRIDES)]


StateJson = Literal["router", "fixed", "off"]
# Ranges of what a hand sets have sentences of their own, where the settings are checked.
Percent = Annotated[float, Field(allow_inf_nan=True)]
# JSON knows no tuples: a list of that form is one.
SettingJson = Annotated[tuple[StateJson, Percent, bool], Field(strict=False)]
Layer = int
CellsJson = Annotated[tuple[Target, Layer, Layer, StateJson, Percent], Field(strict=False)]


class ControlsJson(Json):
    """A steering as a hand sets it: target → state, share in percent, locked; and ranges of layers.

    The page's controls, a link and the settings of a downloaded record are of this form.
    """

    set: Annotated[dict[Target, SettingJson], Field(max_length=2 * MOST_NAMES)]
    strength: Percent
    scope: Annotated[str, Field(max_length=20)]
    on: bool
    cells: Annotated[list[CellsJson], Field(max_length=MOST_NAMES * MOST_LAYERS)] = []


class UnitJson(Json):
    """A part of the mixture, and what was measured of it."""

    name: Target
    kind: Literal["group", "expert", "band"]
    weight: Share
    contribution: Amount
    effect: Nats


class SpanJson(Json):
    """A sentence, as tokens from `start` to before `end`."""

    start: Annotated[int, Field(ge=0, le=MOST_TOKENS)]
    end: Annotated[int, Field(ge=0, le=MOST_TOKENS)]
    text: Text


class ChangeJson(Json):
    """The smallest change of one group that alters the first sentence."""

    group: Name
    share: Share
    before: Text
    to: Share | None = None
    after: Text = ""
    at: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None
    token_before: Text = ""
    token_after: Text = ""


class ExplanationJson(LayoutJson):
    """What was measured of one answer."""

    units: Annotated[list[UnitJson], Field(max_length=MOST_UNITS)]
    token_effects: Annotated[dict[Target, Effects], Field(max_length=MOST_UNITS)]
    tokens: Annotated[list[Text], Field(max_length=MOST_TOKENS)]
    sentences: Annotated[list[SpanJson], Field(max_length=MOST_TOKENS)]
    logp: Nats
    base_logp: Nats
    shapley: dict[Name, Nats] | None
    rows: Amount
    seconds: Amount
    smallest_change: Annotated[list[ChangeJson], Field(max_length=MOST_NAMES)] | None
    noise_floor: Amount | None = None

    @model_validator(mode="after")
    def _fits(self) -> ExplanationJson:
        groups = {group.name for group in self.groups}
        experts = {f"{group.name}/{each}" for group in self.groups for each in group.experts}
        if self.shapley is not None and set(self.shapley) != groups:
            raise ValueError("shapley does not name the groups")
        if {unit.name for unit in self.units} != set(self.token_effects):
            raise ValueError("token_effects does not name the units")
        if {unit.name for unit in self.units if unit.kind == "group"} != groups:
            raise ValueError("the units do not name the groups")
        if {unit.name for unit in self.units if unit.kind == "expert"} != experts:
            raise ValueError("the units do not name the experts")
        if any(len(effects) != len(self.tokens) for effects in self.token_effects.values()):
            raise ValueError("token_effects is not one number a token")
        if any(not s.start <= s.end <= len(self.tokens) for s in self.sentences):
            raise ValueError("a sentence is not within the tokens")
        if any(change.group not in groups for change in self.smallest_change or ()):
            raise ValueError("smallest_change does not name the groups")
        return self


class ResponseJson(Json):
    """One question answered with one part at several shares."""

    target: Target
    doses: Annotated[list[float], Field(max_length=16)]
    answers: Annotated[list[Text], Field(max_length=16)]
    logp: Annotated[list[Nats], Field(max_length=16)] | None

    @model_validator(mode="after")
    def _lengths(self) -> ResponseJson:
        if len(self.answers) != len(self.doses) or len(self.logp or self.doses) != len(self.doses):
            raise ValueError("there is not one answer, or one number, a dose")
        return self


Address = Annotated[str, Field(max_length=MOST_ADDRESS), AfterValidator(_linkable)]


class SourceJson(Json):
    """A training example near a question."""

    source: Annotated[str, Field(max_length=300), AfterValidator(_encodable)]
    topic: Annotated[str, Field(max_length=300), AfterValidator(_encodable)]
    task: Annotated[str, Field(max_length=200), AfterValidator(_encodable)]
    address: Address
    similarity: Annotated[float, Field(ge=0, le=1)]


class FoundJson(Json):
    """What an index says of a question; absent or null = not measured."""

    familiarity: Annotated[float, Field(ge=0, le=1)] | None = None
    nearest: Annotated[list[SourceJson], Field(max_length=16)] | None = None


class StatementJson(Json):
    """A sentence or item of an answer, and the share of drafts that hold one like it.

    start, end: its characters, from `start` to before `end`.
    """

    start: Annotated[int, Field(ge=0, le=MOST_LETTERS)]
    end: Annotated[int, Field(ge=0, le=MOST_LETTERS)]
    text: Text
    shared: Annotated[float, Field(ge=0, le=1)]


class DraftsJson(Json):
    """An answer sampled several times more, and which of its statements the drafts share."""

    answer: Text
    drafts: Annotated[list[Text], Field(min_length=1, max_length=16)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=16)]
    sampling: Annotated[dict[Name, float], Field(max_length=16)]
    statements: Annotated[list[StatementJson], Field(max_length=MOST_TOKENS)]
    agreement: Annotated[float, Field(ge=0, le=1)] | None

    @model_validator(mode="after")
    def _fits(self) -> DraftsJson:
        if len(self.drafts) != len(self.seeds):
            raise ValueError("there is not one seed a draft")
        if any(self.answer[s.start : s.end] != s.text for s in self.statements):
            raise ValueError("a statement is not what stands there in the answer")
        return self


class FlagJson(Json):
    """Something flagged in an answer.

    start, end: its characters, from `start` to before `end`; source: those of the prompt that say
    otherwise, null where it says nothing.
    """

    start: Annotated[int, Field(ge=0, le=MOST_LETTERS)]
    end: Annotated[int, Field(ge=0, le=MOST_LETTERS)]
    kind: Literal["number", "unit", "P-value", "name", "negation", "word"]
    says: Text
    source: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)] | None
    sentence: Text


class RecordJson(FoundJson):
    """One answer, all that made it, and what was measured of it."""

    format: Literal[1]
    prompt: Text
    answer: Text
    answer_tokens: Tokens
    model: Annotated[dict[Name, Text], Field(max_length=16)]
    base: Annotated[dict[Name, Text], Field(max_length=16)]
    seed: Seed
    sampling: Annotated[dict[Name, float], Field(max_length=16)]
    steering: SteeringJson
    router_plan: PlanJson
    plan: PlanJson
    finish: Literal["stop", "length", "cancelled"]
    timings: Annotated[dict[Name, Amount], Field(max_length=16)]
    versions: Annotated[dict[Name, Text], Field(max_length=32)]
    explanation: ExplanationJson | None = None
    response: ResponseJson | None = None
    flags: Annotated[list[FlagJson], Field(max_length=MOST_TOKENS)] | None = None

    @model_validator(mode="after")
    def _flags_fit(self) -> RecordJson:
        for flag in self.flags or ():
            if self.answer[flag.start : flag.end] != flag.says or flag.start >= flag.end:
                raise ValueError("what is flagged is not what stands there in the answer")
            if flag.source is not None and not self.prompt[slice(*flag.source)]:
                raise ValueError("what a flag points to is not in the prompt")
        return self

    @model_validator(mode="after")
    def _one_model(self) -> RecordJson:
        layouts = [self.router_plan, self.plan]
        if self.explanation is not None:
            layouts.append(self.explanation)  # type: ignore[arg-type]  # a layout as well
        first = layouts[0]
        if any((part.layers, part.groups) != (first.layers, first.groups) for part in layouts):
            raise ValueError("its plans and its explanation are of different models")
        if not {"name", "sha256"} <= self.model.keys() & self.base.keys():
            raise ValueError("it does not say which model and which base answered")
        return self


Part = TypeVar("Part", bound=Json)


def checked(part: type[Part], data: Any, what: str, fix: str, error: type[AtMoeError]) -> Part:
    """Hold data against a part of the schema.

    Args:
        part: the schema.
        data: what `json.loads` gave, or a mapping like it.
        what: how the message calls it: "This is not a routing plan".
        fix: what it tells a person to do.
        error: what is raised.

    Returns:
        The data, as that part.

    Raises:
        AtMoeError: of the kind given; the sentence names the first thing that is wrong.
    """
    try:
        return part.model_validate(dict(data) if isinstance(data, Mapping) else data)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "all of it"
        reason = first["msg"].removeprefix("Value error, ")
        reason = reason[:1].lower() + reason[1:].rstrip(".")
        raise error(f"{what} ({place[:80]}: {reason[:160]}); {fix}.") from None
    except RecursionError:
        raise error(f"{what} (it is nested too deep); {fix}.") from None


def language_of(value: object) -> str:
    """The language that a model learned from.

    Args:
        value: whatever a file says; "" = nothing.

    Raises:
        ValueError: no ISO 639-1 code.
    """
    if not isinstance(value, str) or not re.fullmatch("([a-z]{2})?", value):
        raise ValueError('the language is no ISO 639-1 code, such as "en"')
    return value


def words_of(value: object, groups: Sequence[str]) -> dict[str, str]:
    """What groups are called on the page, by their names.

    Args:
        value: whatever a file says.
        groups: those that there are.

    Raises:
        ValueError: no mapping of groups to short words.
    """
    if not isinstance(value, dict):
        raise ValueError("words is no mapping of groups to words")
    for group, word in value.items():
        if group not in groups:
            like = meant(str(group), groups)
            raise ValueError(f"words names the group {str(group)[:40]!r}, which there is not{like}")
        if not isinstance(word, str) or not 0 < len(word.strip()) <= MOST_WORD:
            raise ValueError(f"the word for {group} is no text of 1 to {MOST_WORD} characters")
        _encodable(word)
    return dict(value)


PUBLISHED: dict[str, type[Json]] = {
    "steering": SteeringJson,
    "plan": PlanJson,
    "record": RecordJson,
}
"""What others may write and read, by name."""


def published(name: str) -> dict[str, Any]:
    """One of `PUBLISHED` as JSON Schema.

    Raises:
        AtMoeError: there is none of that name.
    """
    if not isinstance(name, str) or name not in PUBLISHED:
        raise AtMoeError(f"There is no schema of {name!r}; there are {', '.join(PUBLISHED)}.")
    return PUBLISHED[name].model_json_schema()
