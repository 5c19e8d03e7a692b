"""The bar by the heatmaps that sets picked cells.

Picking happens in the browser (assets/app/cells.js), on the pictures themselves; what is set there
goes to the steering controls, which alone hold it.
"""

from __future__ import annotations

import gradio as gr

from app.assets import text_of

MARKUP = """<div class="picker"><p data-part="picked" role="status"></p>
<div class="bar" role="group" aria-label="Set the picked cells">
<label>from layer <input type="number" min="0" step="1" data-part="first"></label>
<label>to layer <input type="number" min="0" step="1" data-part="last"></label>
<label>share, % <input type="number" min="0" max="100" step="1" data-part="share"></label>
<button type="button" data-state="fixed">Fix at this share</button>\
<button type="button" data-state="off">Off</button>
<button type="button" data-state="router">Back to Router</button>\
<button type="button" data-part="unpick">Unpick</button></div>
<p class="refusal" data-part="refusal"></p></div>
<ul data-part="set" aria-label="Set for picked cells"></ul>
<p class="hint" id="cells-hint">Click a cell, drag over several, or Tab into a picture: \
arrows move, Shift with arrows extends, Space picks,
Enter picks and goes to this bar, Escape leaves. \
Picked cells win over what the controls set elsewhere.</p>"""


def build_cells() -> gr.HTML:
    """The bar, nothing picked."""
    return gr.HTML(
        MARKUP,
        js_on_load=text_of("cells.js"),
        apply_default_css=False,
        elem_id="cells",
    )
