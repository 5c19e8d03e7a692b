"""The popover at picked cells that sets them.

Picking happens in the browser (assets/app/cells.js), on the pictures and the table; what is set
there goes to the steering controls, which alone hold it.
"""

from __future__ import annotations

import gradio as gr

from app.assets import text_of

MARKUP = """<div class="picker" role="dialog" aria-label="Set the picked cells" hidden>
<p data-part="picked" role="status"></p>
<div class="bar"><label>layers <input type="number" min="0" step="1" data-part="first" \
aria-label="from layer"></label>
<label>to <input type="number" min="0" step="1" data-part="last" \
aria-label="to layer"></label></div>
<div class="bar"><label>share, % <input type="number" min="0" max="100" step="1" \
data-part="share"></label>
<button type="button" data-state="fixed">Fix at this share</button></div>
<div class="bar"><button type="button" data-state="off">Off</button>
<button type="button" data-state="router">Back to Router</button>\
<button type="button" data-part="unpick">Close</button></div>
<p class="refusal" data-part="refusal"></p></div>
<p class="sr-only" id="cells-hint">Arrows move, Shift with arrows extends, Space picks, \
Enter picks and goes to the share, Escape leaves. Picked cells win over what the controls set \
elsewhere.</p>"""


def build_cells() -> gr.HTML:
    """The popover, nothing picked."""
    return gr.HTML(
        MARKUP,
        js_on_load=text_of("cells.js"),
        apply_default_css=False,
        elem_id="cells",
    )
