"""Sharing and keeping: Share and Report in the header, what a link brought, and the tab.

Nothing is computed here.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.assets import text_of
from app.share.words import said

DIALOG = """<span class="actions">\
<button type="button" id="share-button" aria-haspopup="dialog" aria-expanded="false" \
aria-controls="share-dialog">Share</button>\
<button type="button" id="report-button" disabled \
title="One file to print or keep, once a question was answered">Report</button></span>
<div id="share-dialog" role="dialog" aria-label="Share" hidden>
<div class="titled"><strong>Share a link</strong>\
<button type="button" data-part="close" aria-label="Close">✕</button></div>
<label><input type="checkbox" data-part="with"> <span data-part="what">With my question</span>\
</label>
<div class="row"><input type="text" readonly data-part="link" aria-label="Link">\
<button type="button" data-part="copy" aria-live="polite">Copy the link</button></div>
<p class="hint" role="status" data-part="said"></p>
<label class="own-line"><input type="checkbox" data-part="keep"> Keep my question in the \
address?</label>
<p class="hint">Back and Forward then bring it back. Whoever sees the address, or this \
browser's history, sees the question. Untick it to take it out of this address; addresses already \
in the history stay there.</p></div>"""


TAKE = """<h3>Figures and tables on this page</h3>\
<p>Those that stand there now; what was never opened or measured is not among them. The record \
above holds the numbers behind them, to their last digit. A table of shares holds your question \
and the steering too.</p>\
<ul></ul>"""


@dataclass(frozen=True)
class Actions:
    """Share and Report, and the page's address: one component, at work in assets/app/share.js.

    Attributes:
        part: its value is where the browser is; the server sets its other properties.
    """

    part: gr.HTML


@dataclass(frozen=True)
class LinkBar:
    """A bar over the page: what is shown is a link's, and whether it comes out the same here.

    Attributes:
        said: the sentences; empty = no bar.
        again: answers the link's question here.
        close: takes the bar away.
    """

    said: gr.HTML
    again: gr.Button
    close: gr.Button


@dataclass(frozen=True)
class ShareArea:
    """The components.

    Attributes:
        download: has the browser save the record.
        record: opens a downloaded record.
        replayed: whether its answers came out the same, or why it cannot be opened.
    """

    actions: Actions
    bar: LinkBar
    download: gr.Button
    record: gr.UploadButton
    replayed: gr.HTML


def build_actions() -> Actions:
    """Share and Report, for the header."""
    address, share = (text_of(f"{name}.js").rstrip() for name in ("address", "share"))
    return Actions(
        gr.HTML(
            {"search": "", "hash": "", "back": False, "at": 0},
            html_template=DIALOG,
            js_on_load=f"const makeAddress = {address};\n{share}",
            apply_default_css=False,
            elem_id="share",
            address=None,
            linked=None,
            file=None,
            ready=False,
        )
    )


def build_link_bar() -> LinkBar:
    """The bar, not there yet."""
    with gr.Row(elem_id="link-bar"):
        place = gr.HTML(said(), elem_id="link-said")
        again = gr.Button("Answer again here", size="sm", scale=0, elem_id="answer-again")
        close = gr.Button("Close", size="sm", scale=0, elem_id="link-close")
    return LinkBar(place, again, close)


def build_share(actions: Actions, bar: LinkBar) -> ShareArea:
    """The tab, before anything is answered or opened, and the whole area.

    Args:
        actions: of the header.
        bar: over the page.
    """
    download = gr.Button(
        "Download this record (JSON)", interactive=False, size="sm", elem_id="download"
    )
    gr.Markdown(
        "A record that is opened restores the page; both answers are made again, and it is said "
        "here whether they came out the same. The file that you open is read once, and this copy "
        "of it is deleted within a minute."
    )
    record = gr.UploadButton(
        "Open a record (JSON)", file_types=[".json"], size="sm", elem_id="open-record"
    )
    replayed = gr.HTML(said(), elem_id="replayed")
    gr.HTML(
        html_template=TAKE,
        js_on_load=text_of("take.js"),
        apply_default_css=False,
        elem_id="take",
    )
    return ShareArea(actions, bar, download, record, replayed)
