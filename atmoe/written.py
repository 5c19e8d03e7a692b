"""JSON and YAML as people write them: of a key that stands twice, the last would win unseen."""

from __future__ import annotations

import json
from collections.abc import Hashable
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
    said = dict(pairs)
    if len(said) < len(pairs):
        keys = [key for key, _ in pairs]
        raise TwiceError(_twice(next(key for key in keys if keys.count(key) > 1)))
    return said


def _twice(key: object) -> str:
    return f"it says {str(key)[:80]} twice in one place; keep one of them"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which itself takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: list[Hashable] = []
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # what it brings may be said otherwise here
                continue
            name = self.construct_object(key, deep=True)
            if name in keys:
                raise TwiceError(f"in line {key.start_mark.line + 1} {_twice(name)}")
            keys.append(name)
        return super().construct_mapping(node, deep)
