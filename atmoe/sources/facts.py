"""What is known of every training example: names and addresses in columns, as compressed JSON."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from atmoe.data import Example
from atmoe.errors import AssetError
from atmoe.schema import GroupJson, Json, address_of

MOST_ROWS, MOST_BYTES = 200_000, 64 * 2**20
"""Examples, and bytes of the JSON, that a file may have: nothing larger is unpacked."""
MOST_LETTERS = 300
"""A name may be so long; a longer topic is cut, for it is a sentence rather than a name."""
NONE = -1
"""No label in that group."""

Name = Annotated[str, Field(max_length=MOST_LETTERS)]
Place = Annotated[int, Field(ge=0)]
Label = Annotated[int, Field(ge=NONE)]


class FactsJson(Json):
    """The file. Columns hold a place in the list of the same name, labels one in their group."""

    format: Literal[1]
    model: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    groups: list[GroupJson]
    sources: list[Name]
    topics: list[Name]
    addresses: list[Annotated[str, Field(max_length=500)]]
    source: Annotated[list[Place], Field(max_length=MOST_ROWS)]
    topic: list[Place]
    address: list[Place]
    labels: list[list[Label]]


@dataclass(frozen=True)
class Facts:
    """One row an example.

    Attributes:
        groups: each group's name and its experts' names.
        sources: the different ones, and so `topics` and `addresses`; "" = nothing is known.
        source: [rows] places in `sources`, and so `topic` and `address`.
        labels: [groups][rows] places in the group's experts; NONE = no label.
    """

    groups: tuple[tuple[str, tuple[str, ...]], ...]
    sources: tuple[str, ...]
    topics: tuple[str, ...]
    addresses: tuple[str, ...]
    source: tuple[int, ...]
    topic: tuple[int, ...]
    address: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(
        cls, examples: Sequence[Example], groups: Sequence[tuple[str, tuple[str, ...]]]
    ) -> Facts:
        """The facts of examples, without their texts.

        Args:
            examples: one a row.
            groups: of the layout.
        """
        sources, source = _column([e.source for e in examples])
        topics, topic = _column([topic_of(e) for e in examples])
        addresses, address = _column([address_of(e.address) for e in examples])
        labels = tuple(
            tuple(
                experts.index(e.labels[name]) if e.labels.get(name) in experts else NONE
                for e in examples
            )
            for name, experts in groups
        )
        return cls(tuple(groups), sources, topics, addresses, source, topic, address, labels)

    def to_bytes(self, model: str) -> bytes:
        """The file, the same bytes for the same facts.

        Args:
            model: the sha256 of the model that they belong to.
        """
        data = {
            "format": 1,
            "model": model,
            "groups": [{"name": name, "experts": experts} for name, experts in self.groups],
            **{
                name: getattr(self, name)
                for name in ("sources", "topics", "addresses", "source", "topic", "address")
            },
            "labels": self.labels,
        }
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        return gzip.compress(text.encode("utf-8"), 9, mtime=0)

    @classmethod
    def from_bytes(cls, packed: bytes, what: str) -> tuple[Facts, str]:
        """The inverse of `to_bytes`: the facts, and the sha256 of their model.

        Args:
            packed: as read.
            what: the file's name, for the message.

        Raises:
            AssetError: they are not facts; the sentence says why.
        """
        try:
            unpacking = zlib.decompressobj(wbits=31)
            text = unpacking.decompress(packed, MOST_BYTES)
            if not unpacking.eof:
                raise ValueError("it is cut off, or larger than any index")
            data = _FACTS.validate_json(text)
            facts = cls._checked(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"]))[:80]
            raise AssetError(_refusal(what, f"{place}: {first['msg']}")) from None
        except (zlib.error, ValueError, RecursionError) as error:
            raise AssetError(_refusal(what, str(error))) from error
        return facts, data.model

    @classmethod
    def _checked(cls, data: FactsJson) -> Facts:
        """Raises: ValueError, where columns do not fit one another or an address is none."""
        rows = len(data.source)
        groups = tuple((group.name, tuple(group.experts)) for group in data.groups)
        columns = (
            ("source", data.source, len(data.sources)),
            ("topic", data.topic, len(data.topics)),
            ("address", data.address, len(data.addresses)),
            *((f"labels of {g}", c, len(e)) for (g, e), c in zip(groups, data.labels)),
        )
        if not rows or len(data.labels) != len(groups):
            raise ValueError("it has no rows, or not one column of labels a group")
        for name, column, size in columns:
            if len(column) != rows or max(column) >= size:
                raise ValueError(f"the column {name} does not fit the others")
        for address in data.addresses:
            if address and address_of(address) != address:
                raise ValueError(f"{address[:60]!r} is no address of http or https")
        return cls(
            groups,
            tuple(data.sources),
            tuple(data.topics),
            tuple(data.addresses),
            tuple(data.source),
            tuple(data.topic),
            tuple(data.address),
            tuple(map(tuple, data.labels)),
        )


_FACTS = TypeAdapter(FactsJson)


def topic_of(example: Example) -> str:
    """What an example is about, as a name; "" where it has none but its own words."""
    name = example.topic or ("" if example.kind == "own" else example.focus)
    return " ".join(name.split())[:MOST_LETTERS]


def _column(values: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The different values in order, and each one's place among them."""
    different = sorted(set(values))
    place = {value: i for i, value in enumerate(different)}
    return tuple(different), tuple(place[value] for value in values)


def _refusal(what: str, reason: str) -> str:
    reason = reason.removeprefix("Value error, ").rstrip(".")[:200]
    return f"The index {what} cannot be used ({reason}); make it again with atmoe index."
