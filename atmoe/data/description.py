"""What a training is about, as one YAML or JSON file: groups, experts, and the examples' sources.

    name: kitchen                  # what the model is called
    groups:                        # the first group's experts are drawn in fixed proportions
      task: [recipe, substitute]
      diet: {vegan: null, any: {adapter: loras/any}}   # a ready PEFT LoRA: dropped in, not trained
    rows: {recipe: 2}              # optional: how often an expert of the first group is drawn,
                                   #   beside 1
    prompt_rows: {recipe: 1}       # optional: the same where a router reads prompts alone
                                   #   (default: rows)
    sources:                       # paths are relative to this file, or to --data
      - {reader: jsonl, path: own.jsonl}
    base: models/other             # optional: a directory, .gguf file or hub id;
                                   #   left out = SmolLM2-135M-Instruct
    scripts: [LATIN]               # optional: refuse prompts mostly in other scripts
    words: {diet: For}             # optional: what the page calls a group, in one short word
    language: en                   # optional: what it learns from; the page says where a question
                                   #   reads as another, and answers in "en" have a reading grade
    familiarity: lines.json        # optional: lines that are questions for it, and that are none
                                   #   (`atmoe.sources.outside`); left out = how familiar a question
                                   #   is, is not measured
    page: {title: Kitchen}         # optional: what the page says of it (`atmoe.presentation`)

What a JSONL source holds is in `atmoe.data.jsonl`. The medical model is described in
assets/medical.yaml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from atmoe.data.examples import READERS, read_corpus
from atmoe.data.jsonl import read_jsonl
from atmoe.data.known import LANGUAGES, is_script, scripts
from atmoe.data.schema import ANSWER_WORDS, Example
from atmoe.data.templates import wordings_digest
from atmoe.errors import DataError
from atmoe.presentation import NEUTRAL, Page, page_of
from atmoe.schema import language_of, words_of
from atmoe.wording import meant
from atmoe.written import json_of, yaml_of

_FOLDER = Path(__file__).resolve().parent
_HOMES = (_FOLDER / "medical.yaml", _FOLDER.parents[1] / "assets" / "medical.yaml")
MEDICAL = next((file for file in _HOMES if file.exists()), _HOMES[-1])
"""The medical description: an installed package holds it, a checkout has it beside the model."""

FEWEST, MOST = 1e-6, 1e6
"""How often an expert may be drawn: lots need a sum that is neither 0 nor infinite."""

_KEYS = {
    "name",
    "groups",
    "rows",
    "prompt_rows",
    "sources",
    "base",
    "scripts",
    "words",
    "language",
    "familiarity",
    "page",
}


@dataclass(frozen=True)
class Description:
    """A description file, read and checked.

    Attributes:
        groups: the experts of each group, by its name.
        sources: (reader, path) of each.
        rows: how often an expert of the first group is drawn, where it is not once.
        prompt_rows: the same where a router reads prompts alone.
        ready: the directory of a PEFT LoRA, by expert ("group/expert").
        written: the same as the description has it: where there is no such directory, it may be a
            hub id.
        base: a directory, .gguf file or hub id; None = SmolLM2-135M-Instruct.
        scripts: prompts mostly in others are refused; none = all are read.
        words: what the page calls a group, by its name.
        language: what it learns from, as an ISO 639-1 code ("en"); "" = nothing is said.
        familiarity: "medical", or the path of the lines that familiarity is fitted with; "" = it is
            not measured.
        page: what the page says of the model.
    """

    name: str
    groups: Mapping[str, tuple[str, ...]]
    sources: tuple[tuple[str, Path], ...] = ()
    rows: Mapping[str, float] = field(default_factory=dict)
    prompt_rows: Mapping[str, float] = field(default_factory=dict)
    ready: Mapping[str, Path] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    scripts: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    familiarity: str = ""
    page: Page = NEUTRAL

    @property
    def main_group(self) -> str:
        """The group that examples are balanced and reported by: the first."""
        return next(iter(self.groups))

    def digest(self, examples: Sequence[Example]) -> str:
        """One hash of all that decides which rows a training sees.

        A checkpoint of a training that saw others must not be continued.
        """
        choices = [
            dict(self.groups),
            dict(self.rows),
            dict(self.prompt_rows),
            {expert: str(path) for expert, path in self.ready.items()},
            wordings_digest(),
        ]
        digest = hashlib.sha256(json.dumps(choices).encode())
        for e in examples:
            fields = [e.id, e.prompt, e.answer, dict(e.labels), dict(e.also), e.disease]
            digest.update(json.dumps(fields).encode())
        return digest.hexdigest()

    @classmethod
    def load(cls, path: Path, data: Path | None = None) -> Description:
        """Read a description.

        Args:
            path: of a YAML file, or of a JSON file (.json).
            data: what relative source paths start from (default: the file's directory).

        Raises:
            DataError: it cannot be read, or says something this program cannot do; the sentence
                names the place.
        """
        path = Path(path)
        raw = _read(path)
        groups: dict[str, tuple[str, ...]] = {}
        written: dict[str, str] = {}
        for group, experts in raw["groups"].items():
            names = _experts(path, group, experts)
            groups[_name(path, group)] = names
            written |= {f"{group}/{e}": source for e, source in _ready(path, experts).items()}
        first = next(iter(groups.values()))
        rows = _rows(path, "rows", raw.get("rows") or {}, first)
        return cls(
            name=str(raw.get("name") or path.stem),
            groups=groups,
            ready={e: path.parent / Path(s).expanduser() for e, s in written.items()},
            written=written,
            sources=tuple(
                _source(path, source, data or path.parent) for source in raw.get("sources") or ()
            ),
            rows=rows,
            prompt_rows={**rows, **_rows(path, "prompt_rows", raw.get("prompt_rows") or {}, first)},
            base=_base(path, raw.get("base")),
            scripts=_scripts(path, raw.get("scripts") or ()),
            words=_words(path, raw.get("words") or {}, tuple(groups)),
            language=_language(path, raw.get("language")),
            familiarity=_lines(path, raw.get("familiarity")),
            page=_page(path, raw.get("page"), groups),
        )

    def reading(self, roots: Mapping[str, Path | None]) -> Description:
        """The same with these corpora in place of its sources.

        Args:
            roots: the directory of each, by reader; None = skipped.
        """
        sources = tuple((reader, Path(root)) for reader, root in roots.items() if root is not None)
        return replace(self, sources=sources)

    def examples(self, answer_words: int = ANSWER_WORDS) -> list[Example]:
        """The examples of every source, in order.

        A group of one is what all of them have in common (the paper's general LoRA), so its expert
        is every example's, whatever the labels.

        Raises:
            DataError: no source, one that cannot be read, or a label that names no expert of this
                description.
        """
        if not self.sources:
            raise DataError(
                "No source of examples was named; give sources in the description, or at least one "
                "of --medquad DIR, --pubmedqa DIR, --mts-dialog DIR."
            )
        examples: list[Example] = []
        for reader, path in self.sources:
            if reader in READERS:
                examples += read_corpus(reader, path, answer_words)
            else:
                examples += read_jsonl(path)
        alone = {group: experts[0] for group, experts in self.groups.items() if len(experts) == 1}
        examples = [replace(e, labels={**alone, **e.labels}) for e in examples]
        names = [f"{group}/{expert}" for group in self.groups for expert in self.groups[group]]
        for example in examples:
            for group, expert in (*example.labels.items(), *example.also.items()):
                if expert not in self.groups.get(group, ()):
                    raise DataError(
                        f"The example {example.id} is labelled {group}/{expert}, which the "
                        f"description does not name{meant(f'{group}/{expert}', names)}; add it "
                        f"there, or change the label."
                    )
        return examples


def _read(path: Path) -> dict[str, Any]:
    """What the file says, known to have groups and nothing that means nothing here."""
    try:
        text = path.read_text("utf-8-sig")
        raw = json_of(text) if path.suffix == ".json" else yaml_of(text)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no description {path}; name a YAML or JSON file such as assets/medical.yaml."
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(
            f"The description {path} cannot be read: {' '.join(str(error).split())}."
        ) from error
    if unknown := set(map(str, raw if isinstance(raw, dict) else ())) - _KEYS:
        like = meant(min(unknown), _KEYS)
        raise DataError(
            f"{path} says {', '.join(sorted(unknown))}, which means nothing here{like}; known are "
            f"{', '.join(sorted(_KEYS))}."
        )
    if not isinstance(raw, dict) or not isinstance(raw.get("groups"), dict) or not raw["groups"]:
        raise DataError(
            f"{path} names no groups; write for example  groups: {{task: [summary, triage]}}."
        )
    for name in ("sources", "scripts"):
        if not isinstance(raw.get(name) or [], list):
            raise DataError(f"{path}: {name} must be a list; write it in square brackets.")
    return raw


def _scripts(path: Path, raw: Sequence[Any]) -> tuple[str, ...]:
    """Of names that some letters have; of another no letter is, and all prompts were refused."""
    for name in raw:
        if not isinstance(name, str) or not is_script(name):
            like = meant(str(name).upper(), scripts())
            raise DataError(
                f"{path}: {name!r} is no script in Unicode's names of letters{like}; write for "
                f"example  scripts: [LATIN]."
            )
    return tuple(raw)


def _language(path: Path, raw: Any) -> str:
    """An ISO 639-1 code, or nothing."""
    try:
        # YAML reads a bare `no`, which is Norwegian, as False.
        code = language_of("" if raw is None else raw or None)
        if code and code not in LANGUAGES:
            raise ValueError(code)
        return code
    except ValueError as error:
        raise DataError(
            f"{path}: language must be an ISO 639-1 code in quotes; write for example  "
            f'language: "en".'
        ) from error


def _lines(path: Path, raw: Any) -> str:
    """Those of ours by their name, or the path of others."""
    if raw is None or raw == MEDICAL.stem:
        return raw or ""
    if not isinstance(raw, str) or not (path.parent / raw).is_file():
        raise DataError(
            f"{path}: familiarity is the path of a file of lines, which {raw!r} is not; see "
            f"atmoe/README.md on lines of one's own, or leave it out."
        )
    return str(path.parent / raw)


def _page(path: Path, raw: Any, groups: Mapping[str, Sequence[str]]) -> Page:
    """What the page says; all defaults where nothing is said."""
    experts = [f"{group}/{name}" for group, names in groups.items() for name in names]
    try:
        return page_of({} if raw is None else raw, (*groups, *experts))
    except ValueError as error:
        raise DataError(f"{path}: {error}; see atmoe/README.md on its page.") from error


def _experts(path: Path, group: Any, raw: Any) -> tuple[str, ...]:
    """The names of a group's experts."""
    if not isinstance(raw, list | dict) or not raw or len(set(map(str, raw))) < len(raw):
        raise DataError(f"{path}: the group {group!r} needs a list of different experts.")
    return tuple(_name(path, expert) for expert in raw)


def _ready(path: Path, experts: Any) -> dict[str, str]:
    """Where those of a group's experts are that are ready LoRAs, as it is written."""
    if not isinstance(experts, dict):
        return {}
    folders: dict[str, str] = {}
    for expert, source in experts.items():
        if source is None or source == {}:
            continue
        named = isinstance(source, dict) and set(source) == {"adapter"}
        if not named or not isinstance(source["adapter"], str):
            raise DataError(
                f"{path}: write {expert}: {{adapter: DIRECTORY}} for a ready LoRA, or "
                f"{expert}: null."
            )
        folders[expert] = source["adapter"]
    return folders


def _name(path: Path, name: Any) -> str:
    if (
        not isinstance(name, str)
        or not name.strip()
        or "/" in name
        or name != name.strip()
        or name.startswith(".")
    ):
        raise DataError(
            f"{path}: {name!r} cannot be a group's or expert's name; use letters, digits and "
            "hyphens."
        )
    return name


def _source(path: Path, raw: Any, start: Path) -> tuple[str, Path]:
    readers = (*READERS, "jsonl")
    if not isinstance(raw, dict) or set(raw) != {"reader", "path"} or raw["reader"] not in readers:
        raise DataError(
            f"{path}: a source is {{reader: {'|'.join(readers)}, path: PATH}}, not {raw!r}."
        )
    return raw["reader"], Path(start) / str(raw["path"])


def _base(path: Path, raw: Any) -> str | None:
    """A path beside the description, or whatever else names a base model."""
    if raw is None:
        return None
    beside = path.parent / str(raw)
    return str(beside) if beside.exists() else str(raw)


def _words(path: Path, raw: Any, groups: tuple[str, ...]) -> dict[str, str]:
    try:
        return words_of(raw, groups)
    except ValueError as error:
        raise DataError(f"{path}: {error}; write for example  words: {{audience: For}}.") from error


def _rows(path: Path, what: str, raw: Any, experts: tuple[str, ...]) -> dict[str, float]:
    def fits(n: Any) -> bool:
        number = isinstance(n, int | float) and not isinstance(n, bool)
        return number and FEWEST <= n <= MOST

    if not isinstance(raw, dict) or not all(e in experts and fits(n) for e, n in raw.items()):
        raise DataError(
            f"{path}: {what} gives experts of the first group ({', '.join(experts)}) numbers "
            f"above 0, from {FEWEST:f} to {MOST:,.0f}."
        )
    return {e: float(n) for e, n in raw.items()}
