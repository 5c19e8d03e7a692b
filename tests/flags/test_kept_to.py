"""What an answer says that its source does not hold: written by hand, with the findings known."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atmoe.flags.kept_to import KINDS, findings, source_of

DIALOGUE = """Write the review of systems section of the note from this dialogue:

Doctor: Good morning. How old are you?
Patient: I am fifty eight.
Doctor: Any chest pain?
Patient: Yes, for two weeks now.
Doctor: Do you have any fever or chills?
Patient: No.
Doctor: Do you drink alcohol?
Patient: I drink alcohol with dinner.
Doctor: And tablets?
Patient: I take Lasix, forty milligrams, and for my blood pressure lisinopril.
Doctor: Your blood pressure is one twenty five over seventy five. Does diabetes run in the family?
Patient: My mother has it."""

ABSTRACT = (
    "Methods: We compared 80 patients (40 women) in a randomised trial of metformin. Results: "
    "After 12 weeks the mean glucose of the treated patients fell by 14.6%, that of the others by "
    "3.1% (P=0.02). Nausea was seen in 10 of 40 treated patients. Weight fell by 2.4 kg (P<0.001) "
    "and the study was stopped early.\n\nDoes metformin help? What does the evidence show?"
)
NOTHING_FOUND = (
    "Results: We compared 80 patients in a randomised trial of vitamins and of placebo over a long "
    "time in two hospitals of the north. There was no significant difference between groups in "
    "any of the endpoints that the authors had named before the study (P=0.41).\n\nDo vitamins "
    "help? What does the evidence show?"
)
QUESTION = (
    "My doctor said I have had high blood pressure for 3 years, and he gave me two tablets. " * 5
)


def found(prompt: str, answer: str) -> list[tuple[str, str, str | None]]:
    """Kind, what the answer says, and what stands where the source says otherwise."""
    return [
        (f.kind, f.says, f.source and prompt[f.source[0] : f.source[1]])
        for f in findings(prompt, answer)
    ]


def test_what_holds_a_source():
    assert source_of(DIALOGUE).kind == "dialogue"
    assert source_of(ABSTRACT).kind == source_of(NOTHING_FOUND).kind == "abstract"
    assert source_of(QUESTION) is None and findings(QUESTION, "Take 40 mg of digoxin.") == ()
    assert source_of("") is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A 58-year-old patient.", []),
        ("A 30-year-old patient.", [("number", "30", None)]),
        ("Blood pressure 125/75.", []),
        ("Blood pressure 135/75.", [("number", "135", None)]),
        ("Chest pain for 14 days.", []),
        ("Chest pain for 3 weeks.", [("number", "3", "two")]),
        ("Seen on 03/19/2008.", [("number", "03/19/2008", None)]),
        ("He takes 40 mg of furosemide.", []),
        ("He takes 40 mcg of furosemide.", [("unit", "40", "forty")]),
        ("He takes warfarin.", [("name", "warfarin", None)]),
        ("He has hypertension.", []),
        ("He has bronchitis.", [("name", "bronchitis", None)]),
        ("Denies nausea.", [("name", "nausea", None)]),
    ],
)
def test_numbers_units_and_names_against_a_dialogue(answer, expected):
    assert found(DIALOGUE, answer) == expected


@pytest.mark.parametrize(
    ("dose", "said", "expected"),
    [
        ("warfarin 2.5 mg", "warfarin 25 mg", [("number", "25", "2.5")]),
        ("warfarin 0.4 mg", "warfarin 0 mg", [("number", "0", "0.4")]),
        ("metformin 500 mg", "metformin 500 g", [("unit", "500", "500")]),
        ("metformin 500 mg", "metformin 500 grams", [("unit", "500", "500")]),
        ("metformin 500 mg", "metformin 0.5 g", []),
        ("metformin 500 mg", "metformin 500 milligrams", []),
        ("saline 500 ml", "saline 500 l", [("unit", "500", "500")]),
        ("insulin ten units", "insulin 10 units", []),
        ("insulin 10 units", "insulin 10 mg", [("unit", "10", "10")]),
        ("insulin 10 units", "insulin 10 ml", [("unit", "10", "10")]),
        ("insulin 10 units", "insulin 100 units", [("number", "100", "10")]),
    ],
)
def test_doses_are_held_to_the_letter(dose, said, expected):
    prompt = f"Doctor: What do you take?\nPatient: I take {dose} every day.\nDoctor: Go on."
    assert found(prompt, f"Takes {said}.") == expected


def test_a_unit_spelt_in_letters_is_shown_whole():
    prompt = "Doctor: What do you take?\nPatient: Aspirin, forty M G a day.\nDoctor: Go on."
    [finding] = findings(prompt, "Takes aspirin 81 mg.")
    assert finding.sentence == "The answer says 81 mg; the source has forty M G."


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ("He denies chest pain.", "Any chest pain?\nPatient: Yes, for two weeks now."),
        ("No fever, no alcohol.", "I drink alcohol with dinner."),
        (
            "The patient has chills.",
            "Do you have any fever or chills?\nPatient: No.",
        ),
    ],
)
def test_what_is_denied_and_was_affirmed_and_the_other_way_round(answer, where):
    [finding] = findings(DIALOGUE, answer)
    assert finding.kind == "negation" and finding.says in answer
    assert DIALOGUE[slice(*finding.source)].strip() == where
    assert "wrong" not in finding.sentence and finding.says in finding.sentence


@pytest.mark.parametrize(
    "answer",
    [
        "Reports chest pain.",
        "No fever or chills.",
        "Denies recent chest pain.",
        "No change in chest pain.",
        "Drinks alcohol.",
        "His mother has no diabetes.",
        "No chills, but chest pain.",
        "Fever is absent.",
    ],
)
def test_what_agrees_or_can_be_read_in_two_ways_is_passed_over(answer):
    assert found(DIALOGUE, answer) == []


THINGS = ("fever", "cough", "nausea", "constipation")
AFFIRMED = ("I have {}.", "There is {}.", "I am getting {} a lot.", "I've had {} since Monday.")
DENIED = (
    "I have no {}.",
    "I don't have {}.",
    "I have not had any {}.",
    "I never had {}.",
    "I deny {}.",
)
SAYS_NO = (
    "She does not have {}.",
    "He has not had {}.",
    "He hasn’t had {}.",
    "Denies having {}.",
    "She does not report {}.",
    "No rash or {}.",
    "No rash, no {} was noted.",
    "There is no evidence of {}.",
)
SAYS_YES = ("She reports {}.", "No rash. Has {}.")
AFTER_A_DENIAL = (
    "Denies rash, complains of {}.",
    "Denies rash and endorses {}.",
    "No rash, admits to {}.",
    "Denies rash yet notes {}.",
    "He has no rash and is having {}.",
    "Without rash, presents with {}.",
    "Denies rash, with {}.",
    "No rash – {} noted.",
    "No rash, just {}.",
    "No rash, {} is present.",
    "No rash, and {} was noted.",
    "Denies rash, his {} has gone on for days.",
    "No, only {}.",
    "She does not deny {}.",
    "Not only rash but {}.",
)


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("spoken", [*AFFIRMED, *DENIED])
def test_a_denial_reaches_its_thing_and_no_further(spoken, thing):
    prompt = f"Doctor: Hello.\nPatient: {spoken.format(thing)}\nDoctor: And a rash?\nPatient: Well."
    for said in (*SAYS_NO, *SAYS_YES, *AFTER_A_DENIAL):
        flagged = [f.kind for f in findings(prompt, said.format(thing)) if f.says == thing]
        against = SAYS_NO if spoken in AFFIRMED else SAYS_YES
        assert flagged == (["negation"] if said in against else []), (spoken, said)


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        ("I never felt palpitations like this.", "She has palpitations."),
        ("I don't have as much swelling today.", "She has swelling."),
        ("I have headaches, but nothing right now.", "No headache at present."),
        ("I have a headache.", "She does not have a headache at present."),
        ("I have diarrhea.", "He was not treated for diarrhea."),
    ],
)
def test_what_is_denied_in_part_is_passed_over(spoken, said):
    prompt = f"Doctor: Hello.\nPatient: {spoken}\nDoctor: Go on.\nPatient: Well."
    assert findings(prompt, said) == ()


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        (ABSTRACT, "There was no significant difference in glucose.", "P=0.02"),
        (ABSTRACT, "Weight did not fall significantly.", "P<0.001"),
        (NOTHING_FOUND, "Vitamins significantly reduce mortality.", "P=0.41"),
        (ABSTRACT, "Glucose fell (P>0.02) in the treated.", None),
    ],
)
def test_significance_is_held_against_the_p_values(prompt, answer, expected):
    results = [f for f in findings(prompt, answer) if f.kind == "P-value"]
    if expected is None:  # P=0.02 is neither above nor below itself
        assert results == []
        return
    [finding] = results
    assert prompt[slice(*finding.source)] == expected and expected in finding.sentence


@pytest.mark.parametrize(
    ("answer", "significant"),
    [
        ("Pain fell significantly.", True),
        ("No, pain fell significantly.", True),
        ("Pain was not only significantly less but also rarer.", True),
        ("There is no doubt that the fall was significant.", True),
        ("There wasn't a significant difference.", False),
        ("There isn’t any significant difference.", False),
        ("No, there was no significant difference.", False),
        ("The fall failed to reach significance.", False),
        ("No difference reached significance.", False),
        # which can be read in two ways, or lie between
        ("No deaths occurred, but pain fell significantly.", None),
        ("Drug A, not drug B, significantly lowered pain.", None),
        ("The drug did not fail to lower pain significantly.", None),
        ("There was a trend towards significance.", None),
    ],
)
def test_what_is_called_significant_is_read_with_its_denial(answer, significant):
    of_p = {True: ABSTRACT, False: NOTHING_FOUND.replace("There was no significant", "The")}
    for truth, prompt in of_p.items():
        flagged = [f.kind for f in findings(prompt, answer) if f.kind == "P-value"]
        assert flagged == (["P-value"] if significant is (not truth) else []), truth


def test_an_abstracts_own_words_of_significance_are_no_finding():
    said = "No deaths occurred, but pain was significantly lower."
    prompt = NOTHING_FOUND.replace("(P=0.41)", "").replace("We compared", said + " We compared")
    assert findings(prompt, said) == findings(prompt, "Pain was significantly lower.") == ()


@pytest.mark.parametrize("sign", ["below", "less than", "lower than", "⩽", "<"])
def test_the_side_of_a_p_value_is_read_from_words_and_signs(sign):
    [finding] = findings(ABSTRACT.replace("P<0.001", f"P {sign} 0.001"), "It fell (P>0.001).")
    assert finding.kind == "P-value" and sign in finding.sentence


def test_the_number_of_a_p_value_is_named_with_the_only_one_there_is():
    [finding] = findings(NOTHING_FOUND, "Groups did not differ (P=0.04).")
    assert finding.sentence == "The answer says 0.04; the source has P=0.41."


@pytest.mark.parametrize(
    "answer",
    [
        "Glucose fell significantly (P=0.02).",
        "Glucose fell by 15% in 25% of patients.",
        "Metformin lowers glucose (P<0.05).",
        "12 weeks of treatment, about 3 months, helped.",
    ],
)
def test_what_follows_from_an_abstract_is_no_finding(answer):
    assert found(ABSTRACT, answer) == []


PASTED = (
    DIALOGUE
    + "\nPatient: Short of breath for a year and a half, a per cent of the time, and dizzy.\n"
    "Doctor: Your weight is 120 kg, and 120 mm Hg the pressure."
)
NOTES = (
    "A 30-year-old with dyspnea for 18 months. Blood pressure 120 mm Hg. Denies chest pain.",
    "He has chest pain, takes 40 mcg of Lasix and weighs 10-20 kg. He is short of breath.",
    "Seen 03/19/2008 for abdominal pain; light headed, in 99 per cent. 20 mg of warfarin.",
)
SPACES = {
    "no-break": lambda text: text.replace(" ", "\u00a0"),
    "narrow no-break": lambda text: text.replace(" ", "\u202f"),
    "thin": lambda text: text.replace(" ", "\u2009"),
    "tab": lambda text: text.replace(" ", "\t"),
    "two": lambda text: text.replace(" ", "  "),
    "line's end as Windows has it": lambda text: text.replace("\n", "\r\n"),
    "no-break hyphen": lambda text: text.replace("-", "\u2011"),
    "Unicode's hyphen": lambda text: text.replace("-", "\u2010"),
}


@pytest.mark.parametrize("spaced", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("answer", NOTES)
def test_spaces_and_hyphens_decide_nothing(answer, spaced):
    def verdicts(prompt, said):
        flags = findings(prompt, said)
        assert all(said[f.start : f.end] == f.says for f in flags)
        plain = [
            " ".join(f.says.replace("\u2010", "-").replace("\u2011", "-").split()) for f in flags
        ]
        return [(f.kind, says) for f, says in zip(flags, plain)]

    expected = verdicts(PASTED, answer)
    assert expected
    assert verdicts(PASTED, spaced(answer)) == expected
    assert verdicts(spaced(PASTED), answer) == expected
    assert verdicts(spaced(PASTED), spaced(answer)) == expected


def test_an_abstract_broken_into_lines_names_what_it_named():
    prompt = ABSTRACT.replace("Nausea was", "Shortness of\nbreath or nausea was")
    assert findings(prompt, "Shortness of breath was seen in 10 of 40.") == ()


SENTENCES = [
    line.partition(": ")[2] for line in DIALOGUE.splitlines() if line.startswith("Patient")
]
SAID = st.text(st.sampled_from("0123456789 .,%/-PpA=<nogrmt?:\n"), max_size=80)
WORDS = st.lists(
    st.sampled_from(
        [
            "no",
            "denies",
            "chest",
            "pain",
            "fever",
            "40",
            "mg",
            "P=0.02",
            "alcohol",
            "twenty",
            "five",
            "bronchitis",
            "not",
            "significant",
            "warfarin",
            ",",
            ".",
            "?",
            "and",
            "3",
            "weeks",
            "smokes",
            "nausea",
            "1/2/08",
            "<",
            "0.05",
        ]
    ),
    max_size=30,
).map(" ".join)


@pytest.mark.parametrize("prompt", [DIALOGUE, ABSTRACT, NOTHING_FOUND])
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_what_is_copied_from_a_source_is_never_a_finding(prompt, data):
    start = data.draw(st.integers(0, len(prompt) - 1))
    spaces = [-1, *(n for n, letter in enumerate(prompt) if letter.isspace()), len(prompt)]
    begin = max(n for n in spaces if n < start + 1) + 1
    end = data.draw(st.sampled_from([n for n in spaces if n >= begin]))
    copied = prompt[begin:end]
    assert [f for f in findings(prompt, copied) if f.kind not in ("negation", "P-value")] == []
    assert findings(prompt, prompt) == ()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_copied_turn_is_never_a_finding(sentence):
    assert findings(DIALOGUE, sentence) == ()


@given(answer=st.one_of(SAID, WORDS, st.text(max_size=60)))
@settings(deadline=None)
def test_findings_lie_inside_both_texts_and_are_in_order(answer):
    for prompt in (DIALOGUE, ABSTRACT):
        results = findings(prompt, answer)
        assert [f.start for f in results] == sorted(f.start for f in results)
        for finding in results:
            assert finding.kind in KINDS and answer[finding.start : finding.end] == finding.says
            assert finding.says and finding.sentence.endswith(".")
            if finding.source is not None:
                start, end = finding.source
                assert 0 <= start < end <= len(prompt)


def test_four_hundred_tokens_take_less_than_20_ms():
    answer = ("He denies chest pain and takes 30 mg of warfarin for bronchitis, P=0.2. " * 25)[
        :1700
    ]
    findings(DIALOGUE, answer)
    took = []
    for _ in range(5):
        began = time.process_time()
        findings(DIALOGUE, answer)
        took.append(time.process_time() - began)
    assert min(took) < 0.02


def test_a_dialogue_in_one_line_is_read_as_one_in_lines():
    turns = [
        "Doctor: What brings you in?",
        "Patient: A cough, and a fever of 38.5.",
        "Doctor: Any allergies?",
        "Patient: Penicillin gives me a rash. No chest pain.",
    ]
    answer = "The patient had a fever of 39.2. The patient has chest pain."
    in_lines, in_one = (findings(joint.join(turns), answer) for joint in ("\n", " "))
    assert in_lines and in_lines == in_one
