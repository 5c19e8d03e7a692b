"""How the report looks: its style sheet, on a screen and on paper, and the colours of shares."""

from __future__ import annotations

from atmoe.report.colours import ink, shade

STYLE = """
:root { color-scheme: light; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; background: #fff; color: #111;
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 1.6rem 0 .4rem; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; } p { margin: .3rem 0; }
.warning { border-left: 4px solid #b34700; padding: .3rem .7rem; }
.answer { white-space: pre-wrap; border: 1px solid #767676; border-radius: 6px;
  padding: .6rem .8rem; }
.small, caption { font-size: .85rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; min-width: min(26rem, 100%); }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; font-weight: 400; padding: .15rem .6rem .15rem 0;
  border-bottom: 1px solid #bbb; vertical-align: top; }
/* Anywhere counts as a place to break when columns share out the width: for the last, the texts. */
th, td { overflow-wrap: break-word; } td:last-child { overflow-wrap: anywhere; }
thead th { font-weight: 700; } td.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table.map { font-size: .7rem; line-height: 1.4; } table.map th { padding: 0 .4rem 0 0; }
table.map :is(td, thead th + th) { padding: 0 .1rem; min-width: 1.35rem; text-align: center;
  border: 1px solid #fff; }
table.map td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
code { font-size: .85rem; }
@media (max-width: 480px) {
  :is(th, td):not(table.map *) { font-size: .8rem; padding-right: .3rem; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } .scroll { overflow: visible; }
  h2, h3, caption { break-after: avoid; } table, .answer { break-inside: avoid; }
  table.map { font-size: 6pt; width: 100%; table-layout: fixed; }
  table.map :is(td, thead th + th) { min-width: 0; padding: 0; }
  table.map tr > :first-child { width: 27mm; }
}
"""


def colours() -> str:
    """A class for each whole percent: its colour, and black or white on it."""
    return "".join(
        f".c{percent}{{background:{shade(percent / 100)};color:{ink(percent / 100)}}}"
        for percent in range(101)
    )
