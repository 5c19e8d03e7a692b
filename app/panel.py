"""The steering controls, built in a plain loop from the model's layout: nothing here knows any group by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from app.markup import line
from atmoe import Layout, State
from atmoe.steering import BANDS, MAX_STRENGTH, layer_range

SHARES_JS = Path(__file__).parents[1].joinpath("assets", "app", "shares.js").read_text("utf-8")


@dataclass(frozen=True)
class Panel:
    """The controls, in the layout's order. `values` is what callbacks read; `moves` their input events."""

    strength: gr.Slider
    scope: gr.Radio
    states: list[gr.Radio]
    shares: list[gr.Slider]
    notes: list[gr.HTML]

    @property
    def values(self) -> list[gr.components.Component]:
        return [self.strength, self.scope, *self.states, *self.shares]

    @property
    def moves(self) -> list:
        return [control.input for control in self.values]


def build_panel(layout: Layout) -> Panel:
    """Lay the controls out, and wire what must happen in the browser itself."""
    even, states, shares, notes = 100 // len(layout.groups), [], [], []
    for group in layout.group_names:
        with gr.Group(elem_classes="group"):
            states.append(gr.Radio([(state.capitalize(), str(state)) for state in State], value=str(State.ROUTER),
                                   label=group, elem_classes="state"))
            shares.append(gr.Slider(0, 100, even, step=1, label=f"{group} share, %", elem_classes="share", buttons=[]))
            notes.append(gr.HTML(line("The router decides; its share shows once you ask"), elem_classes="note"))
    strength = gr.Slider(0, MAX_STRENGTH, 1, step=0.1, label="Strength of all experts",
                         info="0 = the base model alone, 1 = as trained", elem_classes="share", buttons=[])
    scope = gr.Radio([("All layers", "all"), *((_band(name, layout), name) for name in BANDS)], value="all",
                     label="Where the states above apply", elem_classes="scope")
    for i, (state, share) in enumerate(zip(states, shares)):
        for control, dragged in ((state, "false"), (share, "true")):
            control.input(None, [*states, *shares], [*states, *shares], show_progress="hidden",
                          js=f"(...values) => ({SHARES_JS})({i}, {dragged}, values)")
    return Panel(strength, scope, states, shares, notes)


def _band(name: str, layout: Layout) -> str:
    layers = layer_range(name, layout.layers)
    return f"{name.capitalize()} {layers[0]}–{layers[-1]}"
