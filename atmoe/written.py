"""JSON and YAML as people write them: of a key that stands twice, the last would win unseen."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from typing import Any

import yaml


class TwiceError(ValueError):
    """A mapping says a key twice."""


def json_of(text: str | bytes) -> Any:
    """What a text says.

    Raises:
        TwiceError: a key stands twice in one object.
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_once)


def yaml_of(text: str) -> Any:
    """What a text says.

    Raises:
        TwiceError: a key stands twice in one mapping.
        yaml.YAMLError: it is no YAML.
        ValueError: it holds a date that is none.
    """
    return yaml.load(text, _Loader)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    again = _again(key for key, _ in pairs)
    if again is not None:
        raise TwiceError(_twice(pairs[again][0]))
    return dict(pairs)


def _again(keys: Iterable[Hashable]) -> int | None:
    """Where the first key is that stands before as well."""
    seen: set[Hashable] = set()
    for at, key in enumerate(keys):
        if key in seen:
            return at
        seen.add(key)
    return None


def _twice(key: object) -> str:
    return f"it says {str(key)[:80]} twice in one place; keep one of them"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which itself takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        # What a merge brings may be said otherwise here; once it is brought, it stands among them.
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        mapping = super().construct_mapping(node, deep)
        names = [self.construct_object(key, deep=True) for key in own]
        again = _again(names)
        if again is not None:
            line = own[again].start_mark.line + 1
            raise TwiceError(f"in line {line} {_twice(names[again])}")
        return mapping
