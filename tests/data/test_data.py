"""The data package, on tiny corpora of our own in the original layouts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from atmoe.data import ANSWER_WORDS, GROUPS, Example, load, paraphrase, split, two_needs
from atmoe.data import templates as wording
from atmoe.data.labels import audience_of, specialty_of_name, specialty_of_text, task_of
from atmoe.data.text import cut_at_sentence, cut_at_turn, sentences, tidy_question
from atmoe.errors import DataError

PATIENT_ANSWER = "It is a made-up illness of the kidneys. You should drink water."


def document(
    pairs: list[tuple[str, str, str]],
    focus: str | None = "Kidney Gloom",
    cuis: tuple[str, ...] = (),
) -> str:
    """A MedQuAD file: pairs of question type, question, answer."""
    head = f"<Focus>{focus}</Focus>" if focus is not None else ""
    marks = "".join(f"<CUI>{cui}</CUI>" for cui in cuis)
    notes = (
        f"<FocusAnnotations><UMLS><CUIs>{marks}</CUIs></UMLS></FocusAnnotations>" if cuis else ""
    )
    body = "".join(
        f'<QAPair pid="{n}"><Question qid="q-{n}" qtype="{kind}">{question}</Question>'
        f"<Answer>{answer}</Answer></QAPair>"
        for n, (kind, question, answer) in enumerate(pairs, 1)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document id="1" source="elsewhere">{head}{notes}'
        f"<QAPairs>{body}</QAPairs></Document>"
    )


def put(root: Path, path: str, text: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("utf-8"))
    return file


@pytest.fixture
def medquad(tmp_path: Path) -> Path:
    root = tmp_path / "MedQuAD"
    asked = [
        ("information", "What is (are) Kidney Gloom ?", PATIENT_ANSWER),
        (
            "treatment",
            "What are the treatments for Kidney Gloom ?",
            "Rest and water help most people a great deal.",
        ),
        ("causes", "What causes Kidney Gloom ?", ""),
        ("outlook", "What is the outlook for Kidney Gloom ?", "Good."),
        (
            "research",
            "what research is being done for Kidney Gloom ?",
            "Much research is being done on it.",
        ),
        (
            "treatment",
            "What are the treatments for Kidney Gloom ?",
            "These resources address the diagnosis or management of Kidney Gloom: - A Registry",
        ),
    ]
    put(root, "5_NIDDK_QA/0000001.xml", document(asked, cuis=("C0000002", "C0000001")))
    put(
        root,
        "10_GHR_QA/0000009.xml",
        document(
            [
                (
                    "inheritance",
                    "Is renal gloom inherited ?",
                    "This condition is not inherited at all.",
                )
            ],
            "renal gloom",
            ("C0000001",),
        ),
    )
    put(
        root,
        "2_GARD_QA/0000002.xml",
        document(
            [
                (
                    "symptoms",
                    "what are the symptoms of gloom?",
                    "People feel gloomy for a long time.",
                )
            ],
            None,
        ),
    )
    put(root, "LICENSE.txt", "a licence")
    return root


@pytest.fixture
def pubmedqa(tmp_path: Path) -> Path:
    record = {
        "QUESTION": "Does a lamp help in renal gloom?",
        "CONTEXTS": ["Renal gloom is dark.", "Ten kidneys got a lamp."],
        "LABELS": ["BACKGROUND", "METHODS"],
        "MESHES": ["Kidney", "Kidney Diseases"],
        "LONG_ANSWER": "A lamp helped the kidneys of most.",
        "final_decision": "yes",
    }
    put(
        tmp_path,
        "pubmedqa/data/ori_pqal.json",
        json.dumps({"123": record, "124": {**record, "LONG_ANSWER": ""}}),
    )
    return tmp_path / "pubmedqa"


@pytest.fixture
def mts(tmp_path: Path) -> Path:
    root = tmp_path / "MTS"
    rows = (
        "\ufeffID,section_header,section_text,dialogue\r\n"
        '0,PASTSURGICAL,"Appendix removed, 1990.","Doctor: Any surgery?\r\n'
        'Patient: My appendix, in ninety."\r\n'
        '1,ROS,None.,"Doctor: Well?\r\nPatient: Yes."\r\n'
    )
    put(root, "Main-Dataset/Set.csv", rows)
    put(root, "Main-Dataset/About.csv", "name,value\r\na,b\r\n")
    return root


def by_kind(examples: list[Example]) -> dict[str, Example]:
    return {example.kind: example for example in examples}


# --- readers


def test_medquad_labels_and_tidies(medquad: Path) -> None:
    examples = load(medquad)
    # Folders in the order of their numbers; the empty, the too short, the links and the research
    # row are skipped.
    assert [e.id for e in examples] == [
        "medquad:2_GARD_QA/0000002:1",
        "medquad:5_NIDDK_QA/0000001:1",
        "medquad:5_NIDDK_QA/0000001:2",
        "medquad:10_GHR_QA/0000009:1",
    ]
    info = by_kind(examples)["information"]
    assert info.prompt == "What is (are) Kidney Gloom?"
    assert info.answer == PATIENT_ANSWER
    assert dict(info.labels) == {
        "task": "overview",
        "specialty": "endocrine-digestive-renal",
        "audience": "patient",
    }
    assert (info.source, info.focus, info.disease) == ("NIDDK", "Kidney Gloom", "C0000001")
    assert load(medquad) == examples


def test_medquad_without_focus_has_its_own_key_and_no_invented_specialty(medquad: Path) -> None:
    lost = by_kind(load(medquad))["symptoms"]
    assert lost.focus == "" and lost.disease == "medquad:2_GARD_QA/0000002"
    assert dict(lost.labels) == {"task": "diagnosis", "audience": "reference"}


def test_medquad_without_annotation_is_keyed_by_its_name(tmp_path: Path) -> None:
    put(
        tmp_path,
        "9_CDC_QA/1.xml",
        document([("causes", "What causes it ?", "Nobody knows that yet.")], "Odd  Flu-B"),
    )
    (example,) = load(tmp_path)
    assert example.disease == "odd flu b" and example.labels["specialty"] == "infection-immune"


def test_pubmedqa(pubmedqa: Path) -> None:
    (example,) = load(None, pubmedqa)
    assert example.prompt == (
        "Background: Renal gloom is dark. Methods: Ten kidneys got a lamp.\n\n"
        "Does a lamp help in renal gloom? What does the evidence show?"
    )
    assert example.answer == "A lamp helped the kidneys of most." and example.disease == "pmid:123"
    assert dict(example.labels) == {
        "task": "evidence",
        "specialty": "endocrine-digestive-renal",
        "audience": "professional",
    }


def test_mts_dialog_reads_byte_order_mark_and_line_ends(mts: Path) -> None:
    (example,) = load(None, None, mts)  # "None." is no section, the other table no data
    assert example.prompt == (
        "Write the past surgical history section of the note from this dialogue:\n\n"
        "Doctor: Any surgery?\nPatient: My appendix, in ninety."
    )
    assert example.answer == "Appendix removed, 1990." and example.disease == "mts:Set:0"
    assert (
        example.labels["task"] == "documentation" and example.labels["audience"] == "professional"
    )


def test_corpora_add_up_in_order(medquad: Path, pubmedqa: Path, mts: Path) -> None:
    assert load(medquad, pubmedqa, mts) == load(medquad) + load(None, pubmedqa) + load(
        None, None, mts
    )
    assert load() == []


@pytest.mark.parametrize("position", range(3))
def test_missing_and_empty_directories(tmp_path: Path, position: int) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        given: list[Path | None] = [None, None, None]
        given[position] = root
        with pytest.raises(DataError) as error:
            load(*given)
        assert str(root) in str(error.value) and "expected" in str(error.value)


def test_malformed_files_are_named(medquad: Path, pubmedqa: Path, mts: Path) -> None:
    cut_short = "<Document><Focus>"
    odd_encoding = '<?xml version="1.0" encoding="no-such"?><a/>'
    cases = [
        ((medquad, None, None), medquad / "9_CDC_QA/7.xml", text.encode())
        for text in (cut_short, odd_encoding)
    ]
    cases += [
        ((None, pubmedqa, None), pubmedqa / "data/ori_pqal.json", text)
        for text in (b"{", b'["a"]', b'{"1": {"QUESTION": "Why?"}}', b"{}", b"\xff\xfe{}")
    ]
    latin = b"ID,section_header,section_text,dialogue\r\n1,CC,caf\xe9 au lait,Doctor: x\r\n"
    cases.append(((None, None, mts), mts / "Main-Dataset/X.csv", latin))
    for given, file, content in cases:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        with pytest.raises(DataError) as error:
            load(*given)
        assert str(file) in str(error.value)


def test_mts_row_with_missing_fields_is_skipped(tmp_path: Path) -> None:
    rows = "ID,section_header,section_text,dialogue\n1,CC\n2,CC,Pain in the knee,Doctor: Hi\n"
    put(tmp_path, "Main-Dataset/a.csv", rows)
    assert [e.id for e in load(None, None, tmp_path)] == ["mts:a:2"]


# --- the split


def test_split_goes_by_disease_and_is_pinned(medquad: Path) -> None:
    examples = load(medquad)
    same = [e for e in examples if e.disease == "C0000001"]
    assert {e.source for e in same} == {"NIDDK", "GHR"} and len({split(e) for e in same}) == 1
    probe = examples[0]
    sides = {
        key: split(replace(probe, disease=key))
        for key in ("C0000001", "C0000003", "C0000023", "pmid:123")
    }
    assert sides == SIDES
    many = [split(replace(probe, disease=f"C{n:07}")) for n in range(2000)]
    assert 0.08 < many.count("validation") / len(many) < 0.12
    assert split(probe, 0.0) == "train" and split(probe, 1.0) == "validation"


# Pinned: another hash would move diseases between the sides of models already trained.
SIDES = {"C0000001": "validation", "C0000003": "train", "C0000023": "train", "pmid:123": "train"}


# --- labels


@pytest.mark.parametrize(
    ("name", "specialty"),
    [
        ("Non-Small Cell Lung Cancer", "oncology"),
        ("childhood acute lymphoblastic leukemia", "oncology"),
        ("AIDS-related lymphoma", "oncology"),
        ("Parkinson's Disease", "neurology"),
        ("Charcot-Marie-Tooth disease type 2B", "neurology"),
        ("Pseudotumor Cerebri", "neurology"),
        ("Wolff-Parkinson-White syndrome", "cardiopulmonary"),
        ("familial hypertrophic cardiomyopathy", "cardiopulmonary"),
        ("Sickle Cell Anemia", "cardiopulmonary"),
        ("Diabetic Kidney Problems", "endocrine-digestive-renal"),
        ("Hemolytic Uremic Syndrome in Children", "endocrine-digestive-renal"),
        ("Portal Hypertension", "endocrine-digestive-renal"),
        ("HIV/AIDS", "infection-immune"),
        ("Human T-cell leukemia virus type 1", "infection-immune"),
        ("Parasites - Hookworm", "infection-immune"),
        ("Rheumatoid Arthritis", "infection-immune"),
        ("22q11.2 deletion syndrome", "genetic-rare"),
        ("Smith-Magenis syndrome", "genetic-rare"),
        ("mucopolysaccharidosis type I", "genetic-rare"),
        ("tumor necrosis factor receptor-associated periodic syndrome", "infection-immune"),
        ("Tornadoes", None),
    ],
)
def test_specialty_by_name(name: str, specialty: str | None) -> None:
    assert specialty_of_name(name) == specialty


def test_text_needs_enough_evidence_and_a_lead() -> None:
    assert specialty_of_text("The kidney hurts.") is None
    assert (
        specialty_of_text("kidney renal nephritis dialysis bladder") == "endocrine-digestive-renal"
    )
    assert (
        specialty_of_text("kidney renal nephritis dialysis brain seizure stroke epilepsy") is None
    )


def test_every_type_and_source_has_its_label() -> None:
    assert {
        task_of(kind)
        for kind in ("information", "Symptoms", "prevention", "inheritance", "complications")
    } == {"overview", "diagnosis", "treatment", "causes", "outlook"}
    assert task_of("research") is None and task_of("support groups") is None
    assert [
        audience_of(s) for s in ("SeniorHealth", "MPlus_Health_Topics", "GARD", "NINDS", "other")
    ] == ["patient", "patient", "reference", "reference", None]


def test_each_organ_specialty_has_a_generous_list() -> None:
    table = json.loads((Path(wording.__file__).parent / "terms.json").read_text("utf-8"))
    assert set(table) == set(GROUPS["specialty"])
    for specialty, tiers in table.items():
        terms = [term for tier in tiers.values() for term in tier]
        assert len(terms) >= 60 and len(terms) == len(set(terms)), specialty


# --- text


def test_cutting() -> None:
    assert sentences("Dr. Who came. He left! Why?") == ["Dr. Who came.", "He left!", "Why?"]
    assert (
        cut_at_sentence("One two three. Four five six. Seven.", 6)
        == "One two three. Four five six."
    )
    assert cut_at_sentence("Yes. " + "word, " * 40, 10).count("word") == 9
    assert cut_at_sentence("short one", 5) == "short one"
    assert cut_at_turn("A: one two\r\n\r\nB: three four\nA: five", 6) == "A: one two\nB: three four"
    assert tidy_question("  Who is at\n risk? ? ") == "Who is at risk?"


def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    long = "This sentence has exactly six words. " * 60
    put(tmp_path, "1_CDC_QA/1.xml", document([("causes", "What causes flu ?", long)], "flu"))
    assert len(load(tmp_path)[0].answer.split()) <= ANSWER_WORDS
    assert len(load(tmp_path, answer_words=12)[0].answer.split()) == 12


def test_table_of_signs_is_left_out(tmp_path: Path) -> None:
    table = (
        "What are the signs and symptoms of Gloom? The Human Phenotype Ontology provides the "
        "following list of it. Signs and Symptoms Approximate number of patients (when available) "
        "Low-set ears 90% EEG slowing 2/4 "
        "The Human Phenotype Ontology (HPO) has collected information."
    )
    prose = "People with gloom sigh often, and their ears sit low."
    put(
        tmp_path,
        "2_GARD_QA/1.xml",
        document(
            [
                ("symptoms", "What are the symptoms of Gloom ?", table),
                ("symptoms", "What are the symptoms of Gloom ?", f"{prose} {table}"),
            ],
            "Gloom",
        ),
    )
    assert [e.answer for e in load(tmp_path)] == [prose]


# --- templates


def test_every_template_has_one_slot_and_one_split() -> None:
    seen: dict[str, str] = {}
    for template in wording.single_templates():
        assert template.text.count("{x}") == 1 and template.text.count("{") == 1, template.text
        key = template.text.lower()
        assert key not in seen, f"{template.text} occurs twice"
        seen[key] = template.split
    for frame in wording.two_need_frames():
        assert (
            all(frame.text.count(slot) == 1 for slot in ("{x}", "{a}", "{b}"))
            and frame.text.count("{") == 3
        )
        assert frame.text not in seen
        seen[frame.text] = frame.split


def test_every_need_has_enough_templates_for_each_audience() -> None:
    counted: dict[tuple[str, str, str], int] = {}
    for t in wording.single_templates():
        assert t.task in GROUPS["task"] and t.audience in GROUPS["audience"]
        counted[t.needs, t.audience, t.split] = counted.get((t.needs, t.audience, t.split), 0) + 1
    kinds = {t.needs for t in wording.single_templates()}
    for kind in kinds:
        for audience in (
            ("professional",) if kind in ("documentation", "evidence") else ("patient", "reference")
        ):
            assert counted[kind, audience, "train"] >= 8, (kind, audience)
            assert counted[kind, audience, "evaluation"] >= 3, (kind, audience)
    assert {t.task for t in wording.single_templates()} == set(GROUPS["task"])
    phrases = wording._table()["needs"]
    assert set(phrases) == kinds - {"documentation", "evidence"}
    assert all(
        p["train"] and p["evaluation"] and not {*p["train"]} & {*p["evaluation"]}
        for p in phrases.values()
    )
    sides = [frame.split for frame in wording.two_need_frames()]
    assert sides.count("train") >= 20 and sides.count("evaluation") >= 8


def test_voices_train_and_evaluate_alike() -> None:
    voices = {
        side: {
            (t.needs, t.audience, t.voice) for t in wording.single_templates() if t.split == side
        }
        for side in wording.SPLITS
    }
    assert voices["train"] == voices["evaluation"]


@pytest.fixture
def templates_alone(monkeypatch):
    """No question is written by the grammar, which has tests of its own."""
    monkeypatch.setattr(wording, "_GRAMMAR_SHARE", {"patient": 0.0, "reference": 0.0})


def test_paraphrase_keeps_everything_but_the_prompt(medquad: Path, templates_alone) -> None:
    info = by_kind(load(medquad))["information"]
    for side in wording.SPLITS:
        asked = {paraphrase(info, random.Random(seed), side).prompt for seed in range(40)}
        texts = {
            t.text
            for t in wording.single_templates()
            if (t.needs, t.audience, t.split) == ("information", "patient", side)
        }
        names = (
            "kidney Gloom",
            "kidney gloom",
        )  # "Kidney" is a plain word, "Gloom" may be a person
        assert (
            asked <= {text.replace("{x}", name) for text in texts for name in names}
            and len(asked) > 2
        )
    once = paraphrase(info, random.Random(3))
    assert once == paraphrase(info, random.Random(3)) == replace(info, prompt=once.prompt)


def test_paraphrase_leaves_what_no_template_fits(medquad: Path) -> None:
    lost = by_kind(load(medquad))["symptoms"]
    assert paraphrase(lost, random.Random(0)) is lost
    leaflet = replace(by_kind(load(medquad))["information"], focus="Keep your kidneys healthy")
    assert paraphrase(leaflet, random.Random(0)) is leaflet


@pytest.mark.parametrize(
    ("focus", "name"),
    [
        ("What I need to know about Gas", "Gas"),
        ("Parasites - Lice - Head Lice", "Head Lice"),
        ("Parasites - Loiasis (also known as Eye Worm)", "Loiasis"),
        ("Hendra Virus Disease (HeV)", "Hendra Virus Disease"),
        ("Gloomiasis (Gloom infection)", "Gloomiasis"),
        ("Prevent diabetes problems: Keep your eyes healthy", ""),
        ("hereditary X (rare) thing", "hereditary X (rare) thing"),
    ],
)
def test_spoken_names(focus: str, name: str) -> None:
    assert wording.spoken(focus) == name


def test_plain_words_lose_their_capital_only_for_patients(medquad: Path, templates_alone) -> None:
    info = replace(
        by_kind(load(medquad))["information"], focus="Paget's Disease and COPD Nephritis"
    )
    patient = [paraphrase(info, random.Random(seed)).prompt for seed in range(30)]
    assert all(
        "Paget's disease and COPD nephritis" in p or "paget's disease and copd nephritis" in p
        for p in patient
    )
    reader = replace(info, labels={**info.labels, "audience": "reference"})
    assert all(info.focus in paraphrase(reader, random.Random(seed)).prompt for seed in range(30))


def test_documentation_and_evidence_keep_their_text(pubmedqa: Path, mts: Path) -> None:
    rng = random.Random(1)
    (evidence,), (note,) = load(None, pubmedqa), load(None, None, mts)
    for side in wording.SPLITS:
        asked = paraphrase(evidence, rng, side).prompt
        assert asked.startswith(evidence.material + "\n\n") and evidence.focus in asked
        seen = {paraphrase(evidence, random.Random(seed), side).prompt for seed in range(400)}
        assert len(seen) == sum(
            t.needs == "evidence" and t.split == side for t in wording.single_templates()
        )
        asked = paraphrase(note, rng, side).prompt
        assert asked.endswith("\n\n" + note.material) and "past surgical history" in asked


def test_two_needs(medquad: Path, templates_alone) -> None:
    kinds = by_kind(load(medquad))
    info, treatment, other = kinds["information"], kinds["treatment"], kinds["inheritance"]
    both = two_needs(info, treatment, random.Random(0))
    assert both is not None
    assert dict(both.labels) == dict(info.labels) and dict(both.also) == {"task": "treatment"}
    assert both.answer == f"{info.answer}\n\n{treatment.answer}" and both.disease == info.disease
    phrases = wording._table()["needs"]
    assert (
        any(phrase in both.prompt for phrase in phrases["information"]["train"])
        and "idney" in both.prompt
    )
    assert any(phrase in both.prompt for phrase in phrases["treatment"]["train"])
    assert two_needs(info, info, random.Random(0)) is None
    assert two_needs(info, other, random.Random(0)) is None  # written for another audience
    assert two_needs(info, replace(treatment, disease="C1"), random.Random(0)) is None
    train = {two_needs(info, treatment, random.Random(n), "train").prompt for n in range(60)}
    assert not train & {
        two_needs(info, treatment, random.Random(n), "evaluation").prompt for n in range(60)
    }
