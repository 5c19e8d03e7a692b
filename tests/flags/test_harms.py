"""The harms that were seen in answers to realistic questions: which of them are flagged.

Two of four are. The other two are made of known words and contradict no source; the model card
names them, so that nobody takes an answer without a flag for a right one.
"""

import pytest

from atmoe.flags.flagged import flagged

ABSTRACT = (
    "BACKGROUND: Whether early drainage shortens the stay was studied in 84 patients with abscess. "
    "METHODS: They were randomised to two groups. RESULTS: The stay was shorter after early "
    "drainage (4 versus 7 days, P=0.02). Does early drainage shorten the stay?"
)
SEEN = (
    ("What is tachycardia?", "It is also called tachysthenosis.", ["word"]),
    ("What is a heart defect?", "Supravalvular tachirrhism narrows a valve.", ["word"]),
    (ABSTRACT, "There was no significant difference in the stay.", ["P-value"]),
)
UNSEEN = (
    ("What is a statin for?", "A statin is an anti-anaphylaxis drug."),
    ("How is Parkinson's disease treated?", "With medicine that lowers dopamine."),
)


@pytest.mark.parametrize(("prompt", "answer", "kinds"), SEEN)
def test_invented_words_and_results_turned_round_are_flagged(medical, prompt, answer, kinds):
    found = flagged(prompt, answer, medical.words)
    assert [flag.kind for flag in found] == kinds
    assert all(answer[flag.start : flag.end] == flag.says for flag in found)


@pytest.mark.parametrize(("prompt", "answer"), UNSEEN)
def test_a_wrong_statement_in_known_words_is_not(medical, prompt, answer):
    assert flagged(prompt, answer, medical.words) == ()
