"""The steering controls, built in a plain loop from the model's layout: no group is known by name.

One component holds them all. Its value is `app.controls.Controls` as a dictionary; what happens
while a finger moves happens in the browser (assets/app/panel.js, assets/app/shares.js), since a
round trip would undo keyboard steps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from app.assets import text_of
from app.controls import Controls
from app.markup import inert as _safe
from app.steer.words import control_percents, share_notes
from app.view import View
from atmoe import Layout, State
from atmoe.report.words import changes
from atmoe.steering.overrides import BANDS, MAX_STRENGTH, layer_range
from atmoe.wording import count

UNASKED = "The router decides; its share shows once you ask"
LEAD = 80
"""The share of its group, in percent, that an expert is given by a click on it."""
HINT = (
    f"Click an expert: it leads its group with {LEAD}%; once more: back to the router. Drag an "
    "edge, or press an arrow key, to move shares. An orange tick is where the router put it. ⋯ "
    "holds Off (nobody takes over) and Lock."
)


def build_panel(
    layout: Layout,
    strength_note: str = "",
    words: Mapping[str, str] | None = None,
    presets: Mapping[str, Controls] | None = None,
) -> gr.HTML:
    """The controls, all left to the router.

    Args:
        layout: the model's.
        strength_note: what was measured of strengths.
        words: what a group is called, where it is not its name.
        presets: by what their buttons say.
    """
    shares, history, own_presets, panel = (
        text_of(f"{name}.js").rstrip() for name in ("shares", "history", "own_presets", "panel")
    )
    script = (
        f"const balance = {shares};\nconst makeHistory = {history};\n"
        f"const ownPresets = {own_presets};\n{panel}"
    ).replace("LEAD_PERCENT", str(LEAD))
    return gr.HTML(
        Controls().to_dict(),
        html_template=_markup(layout, strength_note, words or {}, presets or {}),
        js_on_load=script,
        apply_default_css=False,
        elem_id="panel",
        shown=shown(None),
    )


def shown(view: View | None, at: int = 0, refused: str = "", scope: str = "all") -> dict[str, Any]:
    """What the controls show beside the settings.

    Args:
        view: None before the router's plan is known: then they show nothing but a note.
        at: the number of the settings heard last.
        refused: why those are not in force.
        scope: the layers that the settings are for; shares are means over these.
    """
    targets = {}
    if view is not None:
        layers = layer_range(scope, view.plan.layout.layers)
        router, force = control_percents(view, layers)
        team, notes = {*view.router_plan.asked}, share_notes(view, scope)
        targets = {
            t: {
                "router": router[t],
                "force": force[t],
                "note": notes[t],
                "asked": t in team if "/" in t else t not in view.router_plan.absent,
            }
            for t in router
        }
    same = view is not None and view.same
    key = "" if view is None else view.key
    return {"targets": targets, "at": at, "refused": refused, "same": same, "of": key}


def _markup(
    layout: Layout,
    strength_note: str,
    words: Mapping[str, str],
    presets: Mapping[str, Controls],
) -> str:
    groups = "".join(_group(i, layout, words) for i in range(len(layout.groups)))
    bands = "".join(_scope(scope, layout) for scope in ("all", *BANDS))
    ready = "".join(
        f'<button type="button" data-preset="{_safe(json.dumps(preset.to_dict()))}" '
        f'title="{_safe(changes(preset.steering))}">{_safe(name)}</button>'
        for name, preset in presets.items()
    )
    offered = f'<div class="bar" role="group" aria-label="Presets">{ready}</div>' if ready else ""
    own = """<button type="button" class="opens" data-opens \
aria-expanded="false">Own presets</button>
<div class="menu" popover><div class="bar" role="group" data-part="save" aria-label="Own presets">\
<input type="text" maxlength="40" aria-label="Name of a preset of your own"
placeholder="Name a preset of your own" autocomplete="off"><button type="button">Save</button></div>
<ul class="bar" data-part="own" aria-label="Own presets, kept in this browser"></ul>\
<p class="hint" role="status" data-part="kept"></p></div>"""
    return f"""<button type="button" class="sheet" data-sheet aria-expanded="false">Steer</button>
<div class="groups" title="{_safe(HINT)}">{groups}</div>
<p class="refusal" role="alert" data-part="refusal"></p>
<section class="bar presets">{offered}{own}</section>
<div class="move strength"><span class="name">Strength</span>
<input type="range" min="0" max="{MAX_STRENGTH:g}" step="0.1" data-strength \
aria-label="range slider for Strength of all experts" \
title="0 = the base model alone, 1 = as trained. {_safe(strength_note)}">
<input type="number" min="0" max="{MAX_STRENGTH:g}" step="0.1" data-strength \
aria-label="number input for Strength of all experts"></div>
<fieldset class="states scopes" aria-label="Where the states above apply">{bands}</fieldset>
<section class="kept"><h3>Changes <small><i></i> the router's share</small></h3>
<ul class="chips" data-part="changes" \
aria-label="Changes, each with a button that takes it back"></ul>
<div class="bar">
<label class="switch"><input type="checkbox" role="switch" data-on checked>Steering on</label>
<button type="button" data-do="undo">Undo</button><button type="button" data-do="redo">Redo</button>
<button type="button" data-do="reset">Reset all</button></div></section>"""


def _group(index: int, layout: Layout, words: Mapping[str, str]) -> str:
    name, experts = layout.groups[index]
    even = 100 // len(experts)
    segments = members = ""
    for i, expert in enumerate(experts):
        target = f"{name}/{expert}"
        segments += (
            f'<button type="button" class="segment" data-lead="{_safe(target)}">'
            f"<span>{_safe(expert)}</span><b></b></button>"
        )
        members += (
            f'<div class="target" data-target="{_safe(target)}" data-even="{even}">'
            f"{_states(target, expert, f'{index}-{i}')}{_share(target)}</div>"
        )
    word = words.get(name, name)
    named = _safe(word) + (f" <small>({_safe(name)})</small>" if word != name else "")
    return f"""<section class="group target" data-target="{_safe(name)}" \
data-even="{100 // len(layout.groups)}">
<div class="lever"><h3>{named}</h3>
<div class="segments" role="group" aria-label="Experts in {_safe(name)}, by share">{segments}\
<i class="break"></i><span class="ticks" aria-hidden="true"></span></div>
<button type="button" class="opens" data-opens aria-expanded="false" \
aria-label="{count(len(experts), "expert")} in {_safe(name)}: shares, Off, Lock">⋯</button></div>
{_share(name)}
<div class="menu" popover>{_states(name, f"{name}, the group", str(index))}
<div class="bar">\
<button type="button" data-clear="{_safe(name)}" disabled>Reset {_safe(name)}</button></div>
<div class="experts">{members}</div></div></section>"""


def _states(target: str, name: str, key: str) -> str:
    """A name, its three states and a lock."""
    states = "".join(
        f'<label><input type="radio" name="state-{key}" value="{state}">'
        f"{state.capitalize()}</label>"
        for state in State
    )
    return f"""<fieldset class="head states" aria-label="{_safe(target)}">\
<span class="name">{_safe(name)}</span>{states}<button type="button" class="lock" \
data-lock="{_safe(target)}" aria-pressed="false" aria-label="Lock {_safe(target)}" \
title="Keep this share while others move">Lock</button></fieldset>"""


def _share(target: str) -> str:
    """One number: the share in force, as a slider and as digits."""
    slider, number = (
        f'<input type="{kind}" min="0" max="100" step="1" data-part="{kind}" '
        f'placeholder="–" aria-label="{role} for {_safe(target)} share, %">'
        for kind, role in (("range", "range slider"), ("number", "number input"))
    )
    name = "" if "/" in target else '<span class="name" aria-hidden="true">of all</span>'
    return f"""<div class="move">{name}<span class="track">{slider}</span>{number}\
<span aria-hidden="true">%</span></div><small class="note" data-part="note">{UNASKED}</small>"""


def _scope(scope: str, layout: Layout) -> str:
    layers = layer_range(scope, layout.layers)
    name = "All layers" if scope == "all" else f"{scope.capitalize()} {layers[0]}–{layers[-1]}"
    return (
        f'<label><input type="radio" name="scope" value="{scope}" data-scope '
        f'data-first="{layers[0]}" data-last="{layers[-1]}">{name}</label>'
    )
