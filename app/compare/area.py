"""What stands around the answers: their headings, the comparison, and the third answer. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import gradio as gr

from app.ask.desk import UNCOMPARED
from app.compare.words import BESIDE
from app.markup import line

COPY = Path(__file__).parents[1] / "assets" / "app" / "copy.js"


def titled(title: str, place: str, said: str) -> None:
    """An answer's heading, and a button that copies the answer."""
    with gr.Row(elem_classes="titled"):
        gr.Markdown(f"## {title}")
        copy = gr.Button(f"Copy {said}", size="sm", scale=0, min_width=170, elem_id=f"copy-{place}")
    source = COPY.read_text("utf-8").partition("\n")[2]  # without the comment that it begins with
    copy.click(None, js=f"() => ({source})('{place}')", api_visibility="private")


def compare_area(ui: SimpleNamespace) -> None:
    """The comparison, and the third answer below it."""
    gr.Markdown("## Compare")
    ui.comparison = gr.HTML(line(UNCOMPARED), elem_id="comparison", apply_default_css=False)
    with gr.Row(elem_id="beside-ask"):
        ui.beside_kind = gr.Dropdown(
            [(voice.name, str(kind)) for kind, voice in BESIDE.items()],
            value=str(next(iter(BESIDE))),
            label="A third answer",
            scale=1,
            min_width=240,
            info="The random steer shows whether the direction of yours mattered, or only the push.",
        )
        ui.beside_start = gr.Button("Answer beside", scale=0, min_width=170)
        ui.beside_cancel = gr.Button("Stop third answer", scale=0, min_width=190)
    ui.third = gr.HTML(line(""), elem_id="third")
    ui.third_facts = gr.HTML(line(""), elem_id="third-facts", elem_classes="facts")
