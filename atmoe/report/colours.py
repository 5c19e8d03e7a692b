"""The colours of shares, and what reads well on them: for what is drawn without Plotly."""

from __future__ import annotations

CIVIDIS = (
    *(0x00224E, 0x123570, 0x3B496C, 0x575D6D, 0x707173),
    *(0x8A8678, 0xA59C74, 0xC3B369, 0xE1CC55, 0xFEE838),
)
"""Its colours from 0 to 100%, evenly spaced, for what is drawn without Plotly."""


def shade(share: float) -> str:
    """The colour of a share, 0 to 1, as "#rrggbb"."""
    return "#" + "".join(f"{channel:02x}" for channel in _channels(share))


def ink(share: float) -> str:
    """Black or white, whichever reads better on the colour of a share.

    At a relative luminance of 0.179, as WCAG 2 has it, both have the same contrast.
    """
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in _channels(share))
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if luminance > 0.179 else "#fff"


def _channels(share: float) -> list[int]:
    """Red, green and blue of a share's colour, 0 to 255."""
    place = share * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    ends = (colour.to_bytes(3, "big") for colour in CIVIDIS[low : low + 2])
    return [round(a + (b - a) * (place - low)) for a, b in zip(*ends)]
