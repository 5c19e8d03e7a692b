"""Both answers, in the part of a link after the “#”.

    to_fragment ─► JSON ─► zlib ─► base64url ─► "#answers=1.eJx…"
    from_fragment: the same way back; each size is checked before the next step

A browser sends that part to no server with the address. An answer is held as its token ids alone,
so that its text cannot be another than theirs; who made the link can still write any tokens into
it, so whoever shows them must say that they are the link's.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field

from app.answering import Given
from app.controls import Controls
from app.share.link import LinkError
from app.view import sampling_of
from atmoe import AtMoeError, Record, Sampling
from atmoe.schema import Json, Name, Seed, Text, Tokens, checked

VERSION = "1"
FORM = re.compile(r"#answers=([0-9]{1,6})\.([A-Za-z0-9_-]*)")
MOST_CHARACTERS = 16_384
"""Of a fragment. Two answers of 400 tokens take about 5,000."""
MOST_BYTES = 65_536
"""Of what it holds, unpacked: a small bomb is refused as it grows."""
CUT = "It is broken, perhaps cut off on its way; ask for it once more."

MadeBy = Annotated[dict[Name, Text], Field(max_length=16)]


class GivenJson(Json):
    """One answer: its tokens, how it ended, and what computed it."""

    tokens: Tokens
    finish: Literal["stop", "length"]
    versions: Annotated[dict[Name, Text], Field(max_length=32)]


class HeldJson(Json):
    """A question, how it was answered, and both answers.

    The settings of the steering have a schema and sentences of their own.
    """

    model: MadeBy
    base: MadeBy
    prompt: Text
    seed: Seed
    sampling: Annotated[dict[Name, float], Field(max_length=16)]
    controls: dict[str, Any]
    router: GivenJson
    steered: GivenJson | None


@dataclass(frozen=True)
class Held:
    """What a fragment holds.

    Attributes:
        controls: what was set, not yet held against a model.
        model: {"name", "sha256"} of the model that answered.
        steered: None where nothing was steered, or its answer had not ended.
    """

    prompt: str
    sampling: Sampling
    controls: Any
    model: Mapping[str, str]
    router: Given
    steered: Given | None


def to_fragment(router: Record, steered: Record | None, controls: Controls) -> str:
    """The fragment, "#" included; empty where these answers are too long for one."""
    data = {
        "model": dict(router.model),
        "base": {name: router.base[name] for name in ("name", "sha256")},
        "prompt": router.prompt,
        "seed": router.seed,
        "sampling": dict(router.sampling),
        "controls": controls.to_dict(),
        "router": _given_json(router),
        "steered": steered and _given_json(steered),
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    packed = base64.urlsafe_b64encode(zlib.compress(text, 9)).decode("ascii").rstrip("=")
    fragment = f"#answers={VERSION}.{packed}"
    fits = len(text) <= MOST_BYTES and len(fragment) <= MOST_CHARACTERS
    return fragment if fits else ""


def from_fragment(fragment: str) -> Held | None:
    """What an address holds after its “#”; None where that is nothing of ours.

    Raises:
        LinkError: it cannot be read; the sentence says why.
    """
    if not fragment.startswith("#answers="):
        return None
    data = _unpacked(fragment)
    checked(HeldJson, data, "They are not what a link holds", "ask for it once more", LinkError)
    if not {"name", "sha256"} <= data["model"].keys() & data["base"].keys():
        raise LinkError("It does not say which model answered; ask for it once more.")
    try:
        sampling = Sampling(seed=data["seed"], **data["sampling"])
        sampling_of(sampling.max_new_tokens, sampling.temperature, sampling.seed)
    except AtMoeError as error:
        raise LinkError(str(error)) from error
    except TypeError as error:
        raise LinkError("It holds a setting that this page does not know.") from error
    answers = [_given(data[name], data["base"]) for name in ("router", "steered")]
    if any(given and len(given.tokens) > sampling.max_new_tokens for given in answers):
        raise LinkError("An answer in it is longer than its own limit allows.")
    router, steered = answers
    assert router is not None  # the schema has it
    return Held(data["prompt"], sampling, data["controls"], data["model"], router, steered)


def _unpacked(fragment: str) -> Any:
    """The JSON of a fragment, of which nothing is known yet."""
    if len(fragment) > MOST_CHARACTERS:
        raise LinkError(f"It has more than {MOST_CHARACTERS:,} characters.")
    match = FORM.fullmatch(fragment)
    if not match:
        raise LinkError(CUT)
    version, packed = match.groups()
    if version != VERSION:
        raise LinkError(f"They are of version {version}, and this page reads version {VERSION}.")
    try:
        unzip = zlib.decompressobj()
        text = unzip.decompress(
            base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), MOST_BYTES + 1
        )
        if len(text) > MOST_BYTES:
            raise LinkError(f"Unpacked, they have more than {MOST_BYTES:,} bytes.")
        if not unzip.eof or unzip.unused_data:
            raise LinkError(CUT)
        return json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise LinkError(CUT) from error


def _no_number(text: str) -> NoReturn:
    """Raises: ValueError: JSON knows no NaN."""
    raise ValueError(text)


def _given_json(record: Record) -> dict[str, Any]:
    return {
        "tokens": list(record.answer_tokens),
        "finish": record.finish,
        "versions": dict(record.versions),
    }


def _given(data: Any, base: Mapping[str, str]) -> Given | None:
    if data is None:
        return None
    return Given(tuple(data["tokens"]), data["finish"], data["versions"], base)
