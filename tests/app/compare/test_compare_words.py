"""What is said of two answers, against answers counted by hand."""

import re
from html import unescape

import pytest

from app.ask.words import reading_grade
from app.compare.difference import differences
from app.compare.sentences import Kind, aligned
from app.compare.summary import summary
from app.compare.words import BESIDE, ROUTER, YOURS, by_sentence, compared, first_words
from app.markup import differing, passage
from atmoe.explanation.compare import Comparison, Parting
from atmoe.steering.reference import Beside


@pytest.mark.parametrize(
    ("first", "second", "marked"),
    [
        ("Rest and drink water.", "Rest and drink water.", ([], [])),
        ("Rest and drink water.", "Rest, and drink more water.", (["Rest"], ["Rest,", "more"])),
        ("Take rest", "Take\n\nrest", ([], [])),
        ("", "Rest now", ([], ["Rest now"])),
        ("  a b", "a", (["b"], [])),
    ],
)
def test_words_that_the_other_lacks(first, second, marked):
    spans = differences(first, second)
    assert ["".join(text for text, _ in some) for some in spans] == [first, second]
    assert tuple([text for text, differs in some if differs] for some in spans) == marked


def test_marks_escape_what_the_model_wrote():
    assert (
        differing([("<b>", True), (" & ", False)])
        == '<div class="passage" tabindex="0"><mark class="differs">&lt;b&gt;</mark> &amp; </div>'
    )


PAIR = (ROUTER, YOURS)


class Answer:
    def __init__(self, answer: str, finish: str = "stop"):
        self.answer, self.finish = answer, finish


def test_the_words_of_a_comparison():
    parting = Parting(2, "It is treated with", ("<i>", " drugs"), ((0.31, 0.002), (0.125, 0.5)))
    said = compared(
        Comparison(((-1.214, -1.5), None), parting),
        PAIR,
        (Answer("It is treated with <i>."), Answer("It is treated with drugs.")),
    )
    assert (
        "They part at token 3, after “It is treated with”: the router's answer goes on with "
        "“&lt;i&gt;”, yours goes on with “drugs”." in said
    )
    assert (
        "There, the router's plan gave these 31% and less than 1%; your steering gives these 12% "
        "and 50% (before the repetition penalty)."
    ) in said
    assert (
        "Word by word, 1 of 5 words of the router's answer and 1 of 5 of yours stand in it alone"
        in said
    )
    assert "<td>−1.21</td><td>−1.50</td>" in said and "<td>–</td><td>–</td>" in said
    ended = compared(
        Comparison((None, None), Parting(0, "", ("", " a"), None)), PAIR, (Answer(""), Answer("a"))
    )
    assert (
        "They part at token 1: the router's answer ends there, yours goes on with “a”." in ended
        and "There," not in ended
    )
    assert "Both answers are the same" in compared(
        Comparison((None, None), None), PAIR, (Answer("a"), Answer("a"))
    )


def test_a_comparison_counts_words_as_its_table_does():
    lists = (Answer("It helps:\n- rest\n- cold tea\n1. sleep"), Answer("It helps:\n* rest\n* tea"))
    said = compared(Comparison((None, None), Parting(3, "", ("-", "*"), None)), PAIR, lists)
    totals = re.findall(r"\d+ of (\d+)", said)
    assert totals == re.findall(r"</th><td>(\d+)</td>", said) == ["6", "4"]
    assert "2 of 6 words of the router's answer and 0 of 4 of yours" in said
    # where no spaces part the words there is nothing to count
    unspaced = (Answer("多喝水。"), Answer("多休息。"))
    said = compared(Comparison((None, None), Parting(1, "多", ("喝", "休"), None)), PAIR, unspaced)
    assert "Word by word" not in said and "They part at token 2" in said


def test_a_third_answer_has_its_row_and_its_plan_a_column():
    logp = ((-1.0, -2.0, -3.0), (-1.5, -1.25, -3.5), (-4.0, -4.5, -0.5))
    records = (Answer("Rest now."), Answer("Rest more."), Answer("Sleep."))
    said = compared(
        Comparison(logp, Parting(1, "Rest", (" now", " more"), None)),
        (*PAIR, BESIDE[Beside.RANDOM]),
        records,
    )
    assert (
        "The first two part at token 2, after “Rest”: the router's answer goes on with “now”, "
        "yours goes on with “more”." in said
    )
    assert "log-prob., the random steer</th>" in said and said.count("<tr>") == 4
    assert (
        '<th scope="row">Random steer of the same size</th><td>1</td>' in said
        and "<td>−4.00</td><td>−4.50</td><td>−0.50</td>" in said
    )
    alone = compared(
        Comparison(
            ((-1, -2), (-3, -4)), Parting(0, "", ("Rest", "Sleep"), ((0.5, 0.25), (0.1, 0.9)))
        ),
        (ROUTER, BESIDE[Beside.BASE]),
        records[::2],
    )
    assert (
        "the base model's goes on with “Sleep”. There, the router's plan gave these 50% and 25%; "
        "the base model gives these 10% and 90%" in alone
    )
    assert (
        "Word by word, 2 of 2 words of the router's answer and 1 of 1 of the base model's stand in "
        "it alone at their place." in alone
    )


def test_reading_grades():
    easy, hard = (
        "The cat sat. The dog ran.",
        "Immunosuppressive pharmacotherapy necessitates continuous haematological surveillance.",
    )
    assert float(reading_grade(easy).replace("−", "-")) < 4 < 12 < float(reading_grade(hard))
    assert reading_grade("12 + 30") == reading_grade("") == reading_grade(hard, "de") == "–"


HARD = (
    "Immunosuppressive pharmacotherapy necessitates continuous haematological surveillance. "
    "Corticosteroid administration ameliorates inflammatory exacerbations considerably. "
    "Pulmonary rehabilitation supplements pharmacological intervention."
)  # 17 words, far beyond any school year
EASY = "Rest at home. Drink some tea. Take a pill. See how it goes. It will soon be gone."  # 18
YOU = "Rest at home. Drink your tea. Take a pill. See how you feel. It will soon be gone."  # 18
LONG = " ".join([EASY] * 3)  # 54
ALIKE = "About the same in length and reading grade; the words differ"
ITEMS = EASY.replace("See how it goes. It", "\n- Sleep a lot\n- See how it goes\n- It")
LESS = f"{YOU} {EASY} {EASY}"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (EASY, EASY.replace(" ", "\n"), "The same, word by word"),
        ("Take rest\ntea", "- Take rest\n- tea", "The same words, as a list"),
        ("1. Take rest\n2. tea", "Take rest\ntea", "The same words, not as a list"),
        (EASY, EASY.replace("tea", "milk"), ALIKE),
        ("Rest now.", "Sleep now.", "About the same in length; the words differ"),
        (EASY, YOU, "Speaks to *you*"),
        (YOU, EASY, "No longer speaks to *you*"),
        (f"{YOU} You may.", LESS, "Longer (20 → 54 words), speaks less to *you*"),
        (f"{EASY} Do as you like.", YOU, "Speaks more to *you*"),
        (LONG, EASY, "Shorter (54 → 18 words)"),
        (EASY, LONG, "Longer (18 → 54 words)"),
        ("One two three four five six.", "One two.", "About the same in length; the words differ"),
        (EASY, f"{EASY} One two three.", ALIKE),
        (EASY, ITEMS, "As a list"),
    ],
)
def test_the_difference_in_a_line(first, second, said):
    assert summary(Answer(first), Answer(second)) == said


@pytest.mark.parametrize(
    ("grades", "said"),
    [((7.6, 10.4), "harder"), ((8.4, 9.5), "harder"), ((7.6, 9.4), ""), ((9.5, 8.4), "easier")],
)
def test_harder_and_easier_follow_from_the_grades_that_are_printed(monkeypatch, grades, said):
    known = dict(zip((EASY, YOU), grades))
    monkeypatch.setattr("app.compare.summary.grade_of", lambda text, _: known[text])
    words = summary(Answer(EASY), Answer(YOU)).casefold()
    assert words.startswith(f"{said} (grade" if said else "speaks to")
    if said:
        before, after = map(int, re.findall(r"\d+", words))
        assert abs(after - before) >= 2


@pytest.mark.parametrize(("counts", "printed"), [((7, 13), [1, 3]), ((8, 17), [2, 3])])
def test_speaking_to_you_follows_from_the_numbers_that_are_printed(counts, printed):
    answers = [Answer("you " * you + "way " * (500 - you)) for you in counts]
    said = compared(Comparison((None, None), Parting(0, "", ("", ""), None)), PAIR, answers)
    assert [int(n) for n in re.findall(r"<td>500</td><td>.*?</td><td>(\d+)</td>", said)] == printed
    assert ("speaks to" in summary(*answers).casefold()) == (printed[1] - printed[0] >= 2)


def test_how_much_easier_is_said_in_the_grades_that_the_small_print_has():
    hard, easy = (round(float(reading_grade(text).replace("−", "-"))) for text in (HARD, YOU))
    assert summary(Answer(HARD), Answer(YOU)) == (
        f"Easier (grade {hard} → {max(easy, 0)}), speaks to *you*"
    )
    assert summary(Answer(EASY), Answer(HARD)).startswith("Harder (grade 0 → ")
    assert first_words(Answer(HARD), Answer(YOU)).endswith(", speaks to <em>you</em></p>")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((LONG, "length"), (EASY, "stop"), "Shorter (54+ → 18 words)"),
        ((LONG, "stop"), (EASY, "length"), "About the same in reading grade; the words differ"),
        ((EASY, "cancelled"), (LONG, "stop"), "About the same in reading grade; the words differ"),
        ((EASY, "stop"), (LONG, "cancelled"), "Longer (18 → 54+ words)"),
        ((EASY, "length"), (LONG, "length"), "About the same in reading grade; the words differ"),
        (("Rest now", "length"), ("Sleep now", "length"), "Other words"),
    ],
)
def test_of_an_answer_that_was_cut_no_more_is_said_than_is_known(first, second, said):
    assert summary(Answer(*first), Answer(*second)) == said


def test_sentences_stand_beside_their_like():
    first = "Asthma is chronic. It narrows the airways. Inhalers help most people. Call a doctor."
    second = (
        "Call a doctor. Asthma is chronic! Inhalers help many people. "
        "- Rest <b>now\n- Drink\nIt never ends."
    )
    second = second.replace(". -", ".\n-")
    rows = [
        tuple(cell and (cell.kind, cell.text) for cell in row) for row in aligned(first, second)
    ]
    assert rows == [
        (None, (Kind.MOVED, "Call a doctor.")),
        ((Kind.SAME, "Asthma is chronic."), (Kind.SAME, "Asthma is chronic!")),
        ((Kind.ONLY, "It narrows the airways."), None),
        ((Kind.NEAR, "Inhalers help most people."), (Kind.NEAR, "Inhalers help many people.")),
        ((Kind.MOVED, "Call a doctor."), (Kind.ONLY, "Rest <b>now")),
        (None, (Kind.ONLY, "Drink")),
        (None, (Kind.ONLY, "It never ends.")),
    ]
    said = by_sentence(first, second, PAIR)
    assert (
        "Sentences: 1 in both, 1 nearly in both, 1 in both but elsewhere, 1 only in the "
        "router's answer and 3 only in yours." in said
    )
    assert re.findall('<mark class="only">(.*?)</mark>', said) == [
        "It narrows the airways.",
        "most",
        "many",
        "Rest &lt;b&gt;now",
        "Drink",
        "It never ends.",
    ]


@pytest.mark.parametrize(("first", "second"), [("", "Rest."), ("Rest. Go.", ""), (EASY, YOU)])
def test_every_sentence_stands_once_in_its_column(first, second):
    columns = zip(*aligned(first, second))
    assert [" ".join(cell.text for cell in side if cell) for side in columns] == [first, second]


def test_nothing_is_underlined_where_all_would_be():
    said = by_sentence("Rest now.", "Call a doctor. Then wait.", PAIR)
    assert "Sentences: none in both, 1 only in the router's answer and 2 only in yours." in said
    assert "<mark" not in said and said.count("◆</span>") == 3


def test_two_answers_without_a_word_have_no_sentences():
    assert aligned("", " ") == []
    assert "Sentences: none in both, 0 only in the router's answer and 0 only in yours." in (
        by_sentence("", " ", PAIR)
    )


LISTED = "Do:\n- rest <b>\n\n  * drink & eat\n1. one\n2) two\nEnd - so.\n\n- \n12:30 - tea"


def plain(markup: str) -> str:
    """What a browser takes for its text content."""
    return unescape(re.sub(r"<[^>]+>", "", markup))


def test_lists_are_lists_and_their_text_is_the_models():
    shown = passage(LISTED)
    assert plain(shown) == LISTED
    assert [plain(item) for item in re.findall(r"<li>(.*?)</li>", shown, re.DOTALL)] == [
        "- rest <b>",
        "  * drink & eat",
        "1. one",
        "2) two",
    ]
    assert re.findall(r"<(?:ul|ol)|</(?:ul|ol)>", shown) == ["<ul", "</ul>", "<ol", "</ol>"]
    assert passage("a - b\nc") == '<div class="passage" tabindex="0">a - b\nc</div>'


def test_marks_and_lists_go_together():
    other = LISTED.replace("drink", "never drink").replace("two", "three").replace("- rest", "rest")
    for text, spans in zip((LISTED, other), differences(LISTED, other)):
        shown = differing(spans)
        assert plain(shown) == text
        assert re.sub("</?mark[^>]*>", "", shown) == passage(text)
        marked = "".join(map(plain, re.findall("<mark[^>]*>(.*?)</mark>", shown, re.DOTALL)))
        differ = "".join(part for part, differs in spans if differs)
        assert "".join(marked.split()) == "".join(differ.split())
