"""The tab "Link and record": its components. Nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.markup import lines


@dataclass(frozen=True)
class ShareArea:
    """The components.

    Attributes:
        with_question: whether the question goes into the link.
        make_link: makes it.
        record: opens a downloaded record.
        replayed: whether its answers came out the same.
    """

    with_question: gr.Checkbox
    make_link: gr.Button
    link: gr.Textbox
    record: gr.UploadButton
    replayed: gr.HTML


def build_share() -> ShareArea:
    """The tab, before anything is made or opened."""
    gr.Markdown(
        "### A link to what is set\nWhoever opens it sees these settings. It is made here and "
        "stored nowhere; a question is in it only if you tick it."
    )
    with gr.Row(elem_id="link-row"):
        with_question = gr.Checkbox(False, label="With my question", scale=0, min_width=190)
        make_link = gr.Button("Make the link", scale=0, min_width=150)
        # Not read-only: a disabled box cannot be reached from the keyboard.
        link = gr.Textbox(
            label="Link",
            lines=1,
            max_lines=4,
            scale=5,
            min_width=320,
            elem_id="link",
            info="Selected as you enter it, ready to be copied. A change of the settings empties "
            "it again.",
        )

    gr.Markdown(
        "### A record, opened again\nA record downloaded above restores the question, the settings "
        "and the steering; both answers are made again, and this says whether they came out the "
        "same. The file is read once, and deleted within a minute."
    )
    record = gr.UploadButton(
        "Open a record (JSON)", file_types=[".json"], size="sm", elem_id="open-record"
    )
    replayed = gr.HTML(lines([]), elem_id="replayed")
    return ShareArea(with_question, make_link, link, record, replayed)
