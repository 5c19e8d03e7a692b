"""A training's description: what it says is trained, and what it cannot mean is one sentence."""

import json

import pytest

from atmoe.data import GROUPS, MEDICAL, Description, split
from atmoe.data.jsonl import read_jsonl
from atmoe.errors import DataError

KITCHEN = """
name: kitchen
groups:
  task: [recipe, substitute]
  diet: {vegan: null, any: {adapter: loras/any}}
rows: {recipe: 2}
prompt_rows: {substitute: 0.5}
words: {diet: For}
sources: [{reader: jsonl, path: own.jsonl}]
"""
LINES = [
    {
        "prompt": "How do I make soup?",
        "answer": "Boil leeks.",
        "labels": {"task": "recipe", "diet": "vegan"},
        "topic": "soup",
    },
    {
        "prompt": "No eggs: what now, and how to bake it?",
        "answer": "Use flax.",
        "labels": {"task": ["substitute", "recipe"]},
    },
]


def write(folder, text=KITCHEN, lines=LINES):
    (folder / "kitchen.yaml").write_text(text)
    (folder / "own.jsonl").write_text(
        "\n\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return folder / "kitchen.yaml"


def test_a_description_says_what_is_trained(tmp_path):
    found = Description.load(write(tmp_path))
    assert found.name == "kitchen" and found.main_group == "task" and found.scripts == ()
    assert found.words == {"diet": "For"}
    assert dict(found.groups) == {"task": ("recipe", "substitute"), "diet": ("vegan", "any")}
    assert dict(found.ready) == {"diet/any": tmp_path / "loras/any"}
    assert dict(found.rows) == {"recipe": 2} and dict(found.prompt_rows) == {
        "recipe": 2,
        "substitute": 0.5,
    }
    soup, eggs = found.examples()
    assert soup.prompt == "How do I make soup?" and soup.disease == "soup" and not soup.also
    assert dict(eggs.labels) == {"task": "substitute"} and dict(eggs.also) == {"task": "recipe"}
    assert eggs.disease == eggs.prompt and eggs.id == "own.jsonl:3"


def test_a_description_may_name_its_language(tmp_path):
    assert Description.load(write(tmp_path)).language == ""
    assert Description.load(write(tmp_path, KITCHEN + 'language: "no"\n')).language == "no"


def test_a_script_is_what_letters_are_named_by(tmp_path):
    names = ["LATIN", "CYRILLIC", "CJK UNIFIED", "OLD ITALIC", "HANGUL"]
    text = KITCHEN + f"scripts: {json.dumps(names)}\n"
    assert Description.load(write(tmp_path, text)).scripts == tuple(names)


def test_a_label_that_nobody_has_is_told_with_the_nearest(tmp_path):
    lines = [{**LINES[0], "labels": {"task": "recipes"}}]
    found = Description.load(write(tmp_path, lines=lines))
    with pytest.raises(DataError, match=r"labelled task/recipes, .* mean task/recipe\?\)"):
        found.examples()


def test_a_description_may_name_lines_for_familiarity(tmp_path):
    (tmp_path / "lines.json").write_text("{}")
    assert Description.load(write(tmp_path)).familiarity == ""
    found = Description.load(write(tmp_path, KITCHEN + "familiarity: lines.json\n"))
    assert found.familiarity == str(tmp_path / "lines.json")
    # Those of ours are the medical model's, wherever its description lies.
    assert Description.load(MEDICAL).familiarity == "medical"


def test_json_and_another_data_directory(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    (tmp_path / "d.json").write_text(
        json.dumps({"groups": {"g": ["a"]}, "sources": [{"reader": "jsonl", "path": "own.jsonl"}]})
    )
    found = Description.load(tmp_path / "d.json", tmp_path / "data")
    assert found.name == "d" and found.sources == (("jsonl", tmp_path / "data" / "own.jsonl"),)
    with pytest.raises(
        DataError, match="labelled task/recipe, which the description does not name"
    ):
        found.examples()


def test_a_base_may_stand_beside_the_description(tmp_path):
    (tmp_path / "small").mkdir()
    assert Description.load(write(tmp_path, KITCHEN + "base: small\n")).base == str(
        tmp_path / "small"
    )
    assert Description.load(write(tmp_path, KITCHEN + "base: some/hub-id\n")).base == "some/hub-id"
    assert Description.load(write(tmp_path)).base is None


def test_the_medical_set_is_one_such_file():
    found = Description.load(MEDICAL)
    assert dict(found.groups) == GROUPS and [reader for reader, _ in found.sources] == [
        "medquad",
        "pubmedqa",
        "mts-dialog",
    ]
    assert found.reading({"medquad": None, "pubmedqa": "x"}).sources[0][0] == "pubmedqa"
    with pytest.raises(DataError, match="MedQuAD directory .* does not exist"):
        found.examples()
    with pytest.raises(DataError, match="No source of examples"):
        found.reading({}).examples()


@pytest.mark.parametrize(
    "change, sentence",
    [
        (lambda t: t.replace("groups:", "grups:"), r"says grups, .* \(did you mean groups\?\)"),
        (lambda t: "name: kitchen", "names no groups"),
        (
            lambda t: t.replace("rows: {recipe: 2}", "rowz: 1"),
            r"says rowz, which means nothing here \(did you mean rows\?\)",
        ),
        (
            lambda t: t.replace("[recipe, substitute]", "[recipe, recipe]"),
            "list of different experts",
        ),
        (
            lambda t: t.replace("[recipe, substitute]", "[a/b]"),
            "'a/b' cannot be a group's or expert's name",
        ),
        (lambda t: t.replace("{adapter: loras/any}", "{lora: x}"), "adapter: DIRECTORY"),
        (lambda t: t.replace("recipe: 2", "vegan: 2"), "rows gives experts of the first group"),
        (lambda t: t.replace("recipe: 2", "recipe: 0"), "numbers above 0"),
        (lambda t: t.replace("recipe: 2", "recipe: .inf"), "above 0, from 0.000001 to 1,000,000"),
        (lambda t: t.replace("recipe: 2", "recipe: .nan"), "numbers above 0"),
        (lambda t: t.replace("recipe: 2", "recipe: true"), "numbers above 0"),
        (lambda t: t.replace("recipe: 2", f"recipe: 1{'0' * 400}"), "numbers above 0"),
        (lambda t: t.replace("substitute: 0.5", "substitute: .inf"), "prompt_rows gives experts"),
        (
            lambda t: t.replace("reader: jsonl", "reader: csv"),
            r"a source is \{reader: medquad\|pubmedqa",
        ),
        (lambda t: t + "\n  - [", "cannot be read"),
        (lambda t: t + "scripts: LATIN", "scripts must be a list"),
        (lambda t: t + "scripts: [LATN]", r"'LATN' is no script .* \(did you mean LATIN\?\)"),
        (lambda t: t + "scripts: [latin]", r"'latin' is no script .* \(did you mean LATIN\?\)"),
        (lambda t: t + "scripts: [GREEK, 1]", "1 is no script"),
        (lambda t: t + "language: em", "language must be an ISO 639-1 code"),
        (lambda t: t + "page: {titel: X}", r"page.titel means nothing .* \(did you mean title\?\)"),
        (
            lambda t: t + "page: {presets: {A: {diet/vegn: 1}}}",
            r"sets 'diet/vegn', which there is not \(did you mean diet/vegan\?\)",
        ),
        (lambda t: t.replace("diet: For", "food: For"), "words names the group 'food'"),
        (lambda t: t.replace("diet: For", "deit: For"), r"not \(did you mean diet\?\); write for"),
        (lambda t: t + "familiarity: none.json", "which 'none.json' is not"),
        (lambda t: t + "familiarity: {like: x}", "familiarity is the path of a file"),
        (lambda t: t + "language: English", "language must be an ISO 639-1 code"),
        (lambda t: t + "language: no", "language must be an ISO 639-1 code in quotes"),
        (
            lambda t: t.replace("[{reader: jsonl, path: own.jsonl}]", "own.jsonl"),
            "sources must be a list",
        ),
    ],
)
def test_what_a_description_cannot_mean_is_refused(tmp_path, change, sentence):
    with pytest.raises(DataError, match=sentence):
        Description.load(write(tmp_path, change(KITCHEN)))
    with pytest.raises(DataError, match="There is no description"):
        Description.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("{", "line 3 is not JSON"),
        ({"prompt": "x"}, 'line 3 needs "prompt" and "answer"'),
        ({"prompt": " ", "answer": "x"}, "needs"),
        ([1], "needs"),
        ({"prompt": "x", "answer": "y", "labels": ["a"]}, "labels"),
        ({"prompt": "x", "answer": "y", "labels": {"task": 3}}, "must be an expert's name"),
        ({"prompt": "x", "answer": "y", "labels": {"task": ["a", "b", "c"]}}, "list of two"),
        (
            {"prompt": "x\u0007", "answer": "y"},
            r"line 3: The question holds the control character U\+0007",
        ),
        (
            {"prompt": "x", "answer": "y", "label": {"task": "recipe"}},
            "line 3 has 'label', which means nothing here; known are prompt, answer, labels, topic",
        ),
        ({"prompt": "x", "answer": "y", "Topic": "soup", "a": 1}, "line 3 has 'Topic', 'a', which"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, sentence):
    write(tmp_path, lines=[LINES[0], line])
    with pytest.raises(DataError, match=sentence):
        read_jsonl(tmp_path / "own.jsonl")


def test_a_line_may_have_an_id_of_its_own(tmp_path):
    write(tmp_path)
    plain = read_jsonl(tmp_path / "own.jsonl")
    write(tmp_path, lines=[{**line, "id": 7} for line in LINES])
    assert read_jsonl(tmp_path / "own.jsonl") == plain


def test_topics_are_never_on_both_sides(tmp_path):
    lines = [{"prompt": f"p{i}", "answer": "a", "topic": f"t{i // 3}"} for i in range(300)]
    write(tmp_path, lines=lines)
    sides: dict[str, set] = {}
    for e in read_jsonl(tmp_path / "own.jsonl"):
        sides.setdefault(e.disease, set()).add(split(e))
    assert (
        len(sides) == 100
        and all(len(s) == 1 for s in sides.values())
        and {"train", "validation"} == set.union(*sides.values())
    )


def test_a_topic_is_one_however_it_is_spelt(tmp_path):
    spellings = ["Crème {}", "crème {}", " CRÈME  {}\t", "cre\u0300me\u00a0{}"]
    lines = [
        {"prompt": f"p{i} {spelling}", "answer": "a", "topic": spelling.format(i)}
        for i in range(60)
        for spelling in spellings
    ]
    write(tmp_path, lines=[*lines, {"prompt": "Q", "answer": "a", "topic": " "}])
    *examples, without = read_jsonl(tmp_path / "own.jsonl")
    sides = [split(e) for e in examples]
    assert sides == [side for side in sides[::4] for _ in spellings] and len(set(sides)) == 2
    assert [e.topic for e in examples] == [line["topic"] for line in lines]  # as it is shown
    assert without.disease == "Q"


def test_a_digest_knows_whatever_changes_the_rows(tmp_path):
    def digest(text=KITCHEN, lines=LINES):
        found = Description.load(write(tmp_path, text, lines))
        return found.digest(found.examples())

    first = digest()
    assert (
        first == digest()
        and len(
            {
                first,
                digest(
                    KITCHEN.replace("[recipe, substitute]", "[substitute, recipe]").replace(
                        "recipe: 2", "recipe: 2"
                    )
                ),
                digest(KITCHEN.replace("recipe: 2", "recipe: 3")),
                digest(lines=[LINES[0], {**LINES[1], "answer": "Use chia."}]),
                digest(lines=LINES[:1]),
                digest(KITCHEN.replace("loras/any", "loras/other")),
            }
        )
        == 6
    )


def test_odd_files_that_are_right(tmp_path):
    (tmp_path / "tabs.json").write_text('{\n\t"groups": {"g": ["a"]}\n}', "utf-8-sig")
    assert dict(Description.load(tmp_path / "tabs.json").groups) == {"g": ("a",)}
    line = json.dumps(
        {"prompt": "one\u2028two", "answer": "x\u0085y", "topic": 0}, ensure_ascii=False
    ).replace("\u0085", " ")
    (tmp_path / "own.jsonl").write_text(line + "\r\n" + line, "utf-8-sig")
    assert [e.disease for e in read_jsonl(tmp_path / "own.jsonl")] == ["0", "0"]


def test_the_expert_of_a_group_of_one_is_every_examples(tmp_path):
    path = write(tmp_path, KITCHEN.replace("rows:", "  general: [general]\nrows:", 1))
    for example in Description.load(path).examples():
        assert example.labels["general"] == "general" and "task" in example.labels
