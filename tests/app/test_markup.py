"""The pieces of HTML that are made of texts of our own."""

import re

from app.assets import text_of
from app.markup import folded


def test_each_paragraph_stands_behind_its_title_and_nothing_is_lost():
    text = "Before.\n\n**A title.** Words.\n\n- **Item** one\n\n**Two words** begin this one."
    html = folded(text)
    assert html.startswith("Before.")
    assert re.findall("<details( open)?><summary>(.*?)</summary>", html) == [
        (" open", "A title"),
        ("", "Two words"),
    ]
    assert "\n\nWords.\n\n- **Item** one\n\n</details>" in html
    assert "\n\nTwo words begin this one.\n\n</details>" in html
    help_ = text_of("reading.md")
    bare = re.sub(r"</?(details|summary)( open)?>|\W", "", folded(help_))
    assert all(word in bare for word in re.findall(r"\w+", help_))
