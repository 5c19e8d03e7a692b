"""A record: what happened, frozen.

Everything that a figure, a sentence or a replay needs, to and from JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import torch
import transformers

from atmoe.answer.answer import Answer
from atmoe.answer.generation import Generation, Step
from atmoe.answer.row import Decoding
from atmoe.answer.sampling import Sampling
from atmoe.errors import AtMoeError
from atmoe.explanation.response import Response
from atmoe.explanation.value import Explanation
from atmoe.explanation.verdict import verdict
from atmoe.flags.finding import Finding
from atmoe.mixture.mixture import Mixture
from atmoe.routing.plan import RoutingPlan
from atmoe.schema import FORMAT, MOST_BYTES, RecordJson, checked
from atmoe.sources.value import Found, Source
from atmoe.steering.overrides import Steering

AGAIN = "given before"
"""What the record of a remembered answer adds to what decoded it."""
FROM_LINK = "from a link"
"""What the record of an answer that came with a link adds to what decoded it."""


@dataclass(frozen=True, eq=False)
class Record(Answer):
    """One answer and all that made it, and what was measured of it.

    Attributes:
        base: {"name", "sha256"}, and "content", the digest of its weights as they were read, where
            that is known.
        steering: what changed the router's plan.
        timings: {"prefill_s": seconds, "decode_tokens_per_s": tokens a second after the first}; the
            latter is absent where there was no more than that one.
        versions: of the libraries that computed it, the precision ("dtype"; where that is one of
            the base's weights alone, that of all else as "computed_in"), what decoded it ("engine",
            one of `Generation.engine`), and on what ("device"), where that is no CPU.
        explanation: what was measured of the answer, once it was asked for.
        response: what became of the question with one part at five shares, once that was asked
            for; of the router's answer only.
        familiarity: 0 to 1, how familiar the question is, as `Found` has it; None = not measured.
        nearest: the training examples nearest to the question; None = not measured.
        flags: what is flagged in the answer, () = nothing; None = it was not looked through.
    """

    base: Mapping[str, str]
    steering: Steering
    timings: Mapping[str, float]
    versions: Mapping[str, str]
    explanation: Explanation | None = None
    response: Response | None = None
    familiarity: float | None = None
    nearest: tuple[Source, ...] | None = None
    flags: tuple[Finding, ...] | None = None

    @classmethod
    def of(
        cls,
        mixture: Mixture,
        prompt: str,
        steering: Steering,
        router_plan: RoutingPlan,
        generation: Generation | Decoding,
        step: Step,
        row: int = 0,
        found: Found | None = None,
    ) -> Record:
        """The record of one row of a generation, as of one of its steps.

        Args:
            mixture: what answered.
            prompt: what a person typed.
            steering: what changed the router's plan.
            router_plan: what the router gave.
            generation: what was decoded, under the plan in force.
            step: where it stood; an answer that had not ended by then was cancelled.
            row: of the generation.
            found: what the model's index says of the question; None = it was not asked, or there is
                none.
        """
        sampling = {
            f.name: getattr(generation.sampling, f.name) for f in fields(generation.sampling)
        }
        timings = {"prefill_s": round(generation.prefill_seconds, 4)}
        if generation.tokens_per_second is not None:
            timings["decode_tokens_per_s"] = round(generation.tokens_per_second, 2)
        return cls(
            prompt=prompt,
            answer=step.texts[row],
            answer_tokens=step.tokens[row],
            model=mixture.info.named,
            base=_base_of(mixture),
            seed=sampling.pop("seed"),
            sampling=sampling,
            steering=steering,
            router_plan=router_plan,
            plan=generation.plans[row],
            finish=step.finish[row] or "cancelled",
            timings=timings,
            versions={
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                **_precision_of(mixture),
                "engine": generation.engine,
                **({} if mixture.device.type == "cpu" else {"device": str(mixture.device)}),
            },
            familiarity=None if found is None else found.familiarity,
            nearest=None if found is None else found.nearest,
        )

    def again(self, steering: Steering, router_plan: RoutingPlan) -> Record:
        """The record of this answer for whoever asks again.

        A plan is made anew for each answer, and nothing was timed.
        """
        versions = {**self.versions, "engine": f"{self.versions['engine']}, {AGAIN}"}
        return replace(
            self,
            steering=steering,
            router_plan=router_plan,
            plan=replace(self.plan),
            timings={},
            versions=versions,
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, with its format and the verdict on its explanation."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {
            "answer_tokens": list(self.answer_tokens),
            "steering": self.steering.to_dict(),
            "router_plan": self.router_plan.to_dict(),
            "plan": self.plan.to_dict(),
            "explanation": self.explanation and self.explanation.to_dict(),
            "response": self.response and self.response.to_dict(),
        }
        # What was not measured is absent, so that older records come out as they were.
        for name in ("familiarity", "nearest", "flags"):
            if data[name] is None:
                del data[name]
        if self.flags is not None:
            data["flags"] = [flag.to_dict() for flag in self.flags]
        if self.nearest is not None:
            data["nearest"] = [source.to_dict() for source in self.nearest]
        # It follows from the explanation, so it is never read back; written for whoever has the
        # file alone.
        ruling = self.explanation and verdict(self.explanation).to_dict()
        return {"format": FORMAT, **data, "verdict": ruling}

    def to_json(self) -> str:
        """The JSON document that `from_json` reads."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """The inverse of `to_dict`.

        Raises:
            AtMoeError: not a record, or of a format this version does not read.
        """
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise AtMoeError(
                f"This is no record of format {FORMAT}; use one downloaded from this version."
            )
        missing = [f.name for f in fields(cls) if f.name not in data and f.default is MISSING]
        if missing:
            raise AtMoeError(
                f"The record lacks {', '.join(missing)}; use one downloaded from this version, "
                "unedited."
            )
        explanation, response = data.get("explanation"), data.get("response")
        # 1. the parts that have sentences of their own, then all of it, before anything is built
        if isinstance(response, Mapping):
            Response.from_dict(response)
        what, fix = "The record cannot be read", "use one downloaded from this version, unedited"
        checked(RecordJson, data, what, fix, AtMoeError)
        # 2. the record
        nearest, flags = data.get("nearest"), data.get("flags")
        values: dict[str, Any] = {f.name: data.get(f.name) for f in fields(cls)}
        unknown = set(data["sampling"]) - {f.name for f in fields(Sampling)} | (
            set(data["sampling"]) & {"seed"}
        )
        if unknown:
            raise AtMoeError(f"{what} (sampling: {min(unknown)!r} is no setting); {fix}.")
        try:
            Sampling(seed=data["seed"], **data["sampling"])
            values |= {
                "answer_tokens": tuple(data["answer_tokens"]),
                "steering": Steering.from_dict(data["steering"]),
                "router_plan": RoutingPlan.from_dict(data["router_plan"]),
                "plan": RoutingPlan.from_dict(data["plan"]),
                "explanation": None if explanation is None else Explanation.from_dict(explanation),
                "response": None if response is None else Response.from_dict(response),
                "nearest": None if nearest is None else tuple(map(Source.from_dict, nearest)),
                "flags": None if flags is None else tuple(map(Finding.from_dict, flags)),
            }
        except (AtMoeError, TypeError) as error:
            raise AtMoeError(f"{what} ({str(error).rstrip('.')}); {fix}.") from error
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """The inverse of `to_json`.

        Raises:
            AtMoeError: not JSON, not a record, or of a format this version does not read.
        """
        if isinstance(text, str | bytes) and len(text) > MOST_BYTES:
            raise AtMoeError(
                f"The record has more than {MOST_BYTES:,} characters; use the file as downloaded."
            )
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise AtMoeError(
                f"The record is not JSON (line {error.lineno}); use the file as downloaded."
            ) from error
        except (TypeError, UnicodeDecodeError, RecursionError) as error:
            raise AtMoeError("The record is not JSON; use the file as downloaded.") from error


def _precision_of(mixture: Mixture) -> dict[str, str]:
    """The precision, and what all else is in where that is one of the base's weights alone."""
    named, computed = mixture.precision, mixture.computed
    return {"dtype": named} | ({} if named == computed else {"computed_in": computed})


def _base_of(mixture: Mixture) -> dict[str, str]:
    """The base that answered: its name and digest, and what its weights were when read."""
    info = mixture.info
    content = {"content": info.base_content} if info.base_content else {}
    return {"name": info.base_name, "sha256": info.base_sha256} | content
