"""The names that a plan is about: a model's layers, groups and experts, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from atmoe.errors import PlanError

MOST = 1024
"""So many layers at most, and so many experts together."""
MOST_LETTERS = 200


@dataclass(frozen=True)
class Layout:
    """The names a plan is about.

    Attributes:
        layers: how many decoder layers.
        groups: each group's name and its experts' names, in a fixed order.
    """

    layers: int
    groups: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, layers: int, groups: Mapping[str, Sequence[str]]) -> Layout:
        """Build a layout, checking its names.

        Raises:
            PlanError: no layers, no groups, too many of either, an empty group, a repeated name, or
                a "/" in a name.
        """
        if type(layers) is not int:
            raise PlanError(f"The number of layers is a whole number, not {layers!r:.40}.")
        if layers < 1 or not groups:
            raise PlanError("A layout needs at least one layer and one group of experts.")
        if layers > MOST or sum(map(len, groups.values())) > MOST or len(groups) > MOST:
            raise PlanError(f"A layout has at most {MOST:,} layers and {MOST:,} experts.")
        for group, experts in groups.items():
            if not experts:
                raise PlanError(f"The group {group!r} has no experts; give it at least one.")
            if len(set(experts)) != len(experts):
                raise PlanError(f"The group {group!r} names an expert twice; names must differ.")
            for name in (group, *experts):
                if not isinstance(name, str):
                    raise PlanError(f"{name!r:.40} cannot be a name: it is no text.")
                if len(name) > MOST_LETTERS or not name.isprintable():
                    raise PlanError(
                        f"{name!r:.60} cannot be a name: it must be of at most {MOST_LETTERS} "
                        f"letters that can be shown."
                    )
                if not name or "/" in name or "=" in name:
                    raise PlanError(
                        f"{name!r} cannot be a name: it must not be empty or hold '/' or '='."
                    )
        return cls(layers, tuple((g, tuple(e)) for g, e in groups.items()))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups in their order: the columns of every [layers, groups] array."""
        return tuple(name for name, _ in self.groups)

    @cached_property
    def expert_names(self) -> tuple[str, ...]:
        """Full names, `group/expert`: the columns of every [layers, experts] array."""
        return tuple(f"{group}/{expert}" for group, experts in self.groups for expert in experts)

    @cached_property
    def group_of(self) -> tuple[int, ...]:
        """For each expert, in the order of `expert_names`, the index of its group."""
        return tuple(g for g, (_, experts) in enumerate(self.groups) for _ in experts)

    def members(self, group: str) -> slice:
        """The columns of one group's experts in a [layers, experts] array.

        Raises:
            PlanError: there is no such group.
        """
        g = self.group_index(group)
        start = sum(len(experts) for _, experts in self.groups[:g])
        return slice(start, start + len(self.groups[g][1]))

    def group_index(self, group: str) -> int:
        """The column of a group.

        Raises:
            PlanError: there is no such group.
        """
        if group not in self.group_names:
            raise PlanError(
                f"There is no group {group!r}; the groups are {', '.join(self.group_names)}."
            )
        return self.group_names.index(group)

    def expert_index(self, name: str) -> int:
        """The column of an expert.

        Args:
            name: its full name, `group/expert`.

        Raises:
            PlanError: there is no such group, or no such expert in it.
        """
        group, _, expert = name.partition("/")
        experts = self.groups[self.group_index(group)][1]
        if expert not in experts:
            raise PlanError(
                f"There is no expert {expert!r} in {group!r}; its experts are {', '.join(experts)}."
            )
        return self.expert_names.index(name)
