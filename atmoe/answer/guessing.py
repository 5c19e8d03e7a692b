"""What an answer may go on with, guessed from other answers to the same question.

Under a little other plan an answer often goes as the one before for a sentence, parts, and comes
back. What stood there after the last words is tried as what comes next: several tokens are read in
one step, which takes little longer than one, and are kept as long as each is what the answer's own
logits choose. It is speculative decoding (Leviathan et al., ICML 2023) with what is there already
in the place of a draft model, as in prompt lookup (Saxena, 2023); no token is another than without.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTHS = (1, 3, 7)
"""So many tokens are guessed at once: the next more where all came true, the fewest where not."""
LEAST, FAR = 3, 16
"""So many tokens, at least, must be the same before a guess (all of them, where there are fewer);
beyond so many it is not looked further back."""


class Guess:
    """Guesses at one answer.

    Args:
        others: tokens of other answers to the same question, the oldest first; they may grow.
    """

    def __init__(self, others: Sequence[Sequence[int]]):
        self._others = others
        self._width = 0

    def after(self, tokens: Sequence[int], most: int) -> list[int]:
        """What may come next: 1, 3 or 7 tokens, or none.

        Args:
            tokens: the answer so far, not empty.
            most: how many may be guessed.
        """
        found = self._gone_on(tokens)
        wide = min(most, len(found), WIDTHS[self._width])
        return list(found[: max((width for width in WIDTHS if width <= wide), default=0)])

    def learn(self, guessed: int, right: int) -> None:
        """Guess more next time where all came true, and little where not."""
        if guessed:
            self._width = min(self._width + 1, len(WIDTHS) - 1) if right == guessed else 0

    def _gone_on(self, tokens: Sequence[int]) -> Sequence[int]:
        """What follows where another has the longest part of the answer's end; the newest first."""
        longest, found = min(LEAST, len(tokens)) - 1, tokens[:0]
        end = tokens[: -FAR - 1 : -1]
        for other in reversed(self._others):
            for at, token in enumerate(other, 1):
                if token != end[0]:
                    continue
                same = _common(end, other[max(0, at - FAR) : at][::-1])
                if same > longest:
                    longest, found = same, other[at : at + WIDTHS[-1]]
        return found


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return next(
        (n for n, (a, b) in enumerate(zip(first, second)) if a != b), min(len(first), len(second))
    )
