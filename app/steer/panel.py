"""The steering controls, built in a plain loop from the model's layout: no group is known by name.

One component holds them all. Its value is `app.controls.Controls` as a dictionary; what happens
while a finger moves happens in the browser (assets/app/panel.js, assets/app/shares.js), since a
round trip would undo keyboard steps.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr

from app.assets import text_of
from app.controls import Controls
from app.steer.presets import presets
from app.steer.words import changes, share_note
from app.view import View, all_percents
from app.wording import count
from atmoe import Layout, State
from atmoe.steering.overrides import BANDS, MAX_STRENGTH, layer_range

UNASKED = "The router decides; its share shows once you ask"
HINT = (
    "Fixed takes a share; the others divide what is left. Off removes, and nobody takes it over. "
    "Tick: the router's own share. Bar: the share in force."
)
ENTITIES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;", "\\": "&#92;"})
"""A component's markup is a template in two languages at once; no name may be read as either."""


def build_panel(layout: Layout, strength_note: str = "") -> gr.HTML:
    """The controls, all left to the router.

    Args:
        layout: the model's.
        strength_note: what was measured of strengths.
    """
    shares, history, own_presets, panel = (
        text_of(f"{name}.js").rstrip() for name in ("shares", "history", "own_presets", "panel")
    )
    script = (
        f"const balance = {shares};\nconst makeHistory = {history};\n"
        f"const ownPresets = {own_presets};\n{panel}"
    )
    return gr.HTML(
        Controls().to_dict(),
        html_template=_markup(layout, strength_note),
        js_on_load=script,
        apply_default_css=False,
        elem_id="panel",
        shown=shown(None),
    )


def shown(view: View | None, at: int = 0, refused: str = "") -> dict[str, Any]:
    """What the controls show beside the settings.

    Args:
        view: None before the router's plan is known: then they show nothing but a note.
        at: the number of the settings heard last.
        refused: why those are not in force.
    """
    targets = {}
    if view is not None:
        router, force = (all_percents(plan) for plan in (view.router_plan, view.plan))
        targets = {
            t: {"router": router[t], "force": force[t], "note": share_note(view, t)} for t in router
        }
    return {"targets": targets, "at": at, "refused": refused}


def _markup(layout: Layout, strength_note: str) -> str:
    groups = "".join(_group(i, layout) for i in range(len(layout.groups)))
    bands = "".join(_scope(scope, layout) for scope in ("all", *BANDS))
    ready = "".join(
        f'<button type="button" data-preset="{_safe(json.dumps(preset.to_dict()))}" '
        f'title="{_safe(changes(preset.steering))}">{_safe(name)}</button>'
        for name, preset in presets(layout).items()
    )
    return f"""<div class="bar">
<label class="switch"><input type="checkbox" role="switch" data-on checked>Steering on</label>
<button type="button" data-do="undo">Undo</button><button type="button" data-do="redo">Redo</button>
<button type="button" data-do="reset">Reset all</button></div>
{f'<div class="bar" role="group" aria-label="Presets">{ready}</div>' if ready else ""}
<p class="hint">{HINT}</p><p class="refusal" role="alert" data-part="refusal"></p>
{groups}
<div class="move"><span class="name">Strength of all experts</span>
<input type="range" min="0" max="{MAX_STRENGTH:g}" step="0.1" data-strength \
aria-label="range slider for Strength of all experts">
<input type="number" min="0" max="{MAX_STRENGTH:g}" step="0.1" data-strength \
aria-label="number input for Strength of all experts"></div>
<small class="hint">0 = the base model alone, 1 = as trained. {_safe(strength_note)}</small>
<fieldset class="states" aria-label="Where the states above apply">{bands}</fieldset>
<p class="hint" data-part="apart"></p>
<form class="bar" data-part="save" aria-label="Own presets">\
<input type="text" maxlength="40" aria-label="Name of a preset of your own"
placeholder="Name a preset of your own" autocomplete="off"><button>Save</button></form>
<ul class="bar" data-part="own" aria-label="Own presets, kept in this browser"></ul>\
<p class="hint" role="status" data-part="kept"></p>"""


def _group(index: int, layout: Layout) -> str:
    name, experts = layout.groups[index]
    even = 100 // len(experts)
    members = ""
    for i, expert in enumerate(experts):
        target = f"{name}/{expert}"
        members += (
            f'<div class="target" data-target="{_safe(target)}" data-even="{even}">'
            f"{_control(target, expert, f'{index}-{i}')}</div>"
        )
    return f"""<section class="group target" data-target="{_safe(name)}" \
data-even="{100 // len(layout.groups)}">
{_control(name, name, str(index))}
<div class="bar"><button type="button" class="opens" data-opens aria-expanded="false">\
{count(len(experts), "expert")} in {_safe(name)}</button>
<button type="button" data-clear="{_safe(name)}" disabled>Reset {_safe(name)}</button></div>
<div class="experts">{members}</div></section>"""


def _control(target: str, name: str, key: str) -> str:
    states = "".join(
        f'<label><input type="radio" name="state-{key}" value="{state}">'
        f"{state.capitalize()}</label>"
        for state in State
    )
    slider, number = (
        f'<input type="{kind}" min="0" max="100" step="1" data-part="{kind}" '
        f'aria-label="{role} for {_safe(target)} share, %">'
        for kind, role in (("range", "range slider"), ("number", "number input"))
    )
    return f"""<fieldset class="head states" aria-label="{_safe(target)}">\
<span class="name">{_safe(name)}</span>{states}</fieldset>
<div class="move"><span class="track">{slider}</span>{number}<span aria-hidden="true">%</span>
<button type="button" class="lock" data-part="lock" aria-pressed="false" \
aria-label="Lock {_safe(target)}"
title="Keep this share while others move">Lock</button></div>
<small class="note" data-part="note">{UNASKED}</small>"""


def _safe(text: str) -> str:
    return escape(text).translate(ENTITIES)


def _scope(scope: str, layout: Layout) -> str:
    layers = layer_range(scope, layout.layers)
    name = "All layers" if scope == "all" else f"{scope.capitalize()} {layers[0]}–{layers[-1]}"
    return (
        f'<label><input type="radio" name="scope" value="{scope}" data-scope '
        f'data-first="{layers[0]}" data-last="{layers[-1]}">{name}</label>'
    )
