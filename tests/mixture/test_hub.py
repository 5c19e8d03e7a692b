"""A model on the hub: pushed, fetched by its name, and what goes along. The hub is a directory."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from commands import refused
from conftest import ASSETS, LAYERS
from huggingface_hub import ModelCard
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from atmoe import AtMoe, Sampling
from atmoe.errors import AssetError
from atmoe.mixture.hub import COMPANIONS
from atmoe.presentation import Page

ASKED = "How is asthma treated?"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Stands in for the hub: what is uploaded lies in a directory, and is fetched from it."""
    store, asked = tmp_path / "hub", []

    def create_repo(self, repo_id, **_):
        (store / repo_id).mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self, *, repo_id, folder_path, delete_patterns=None, **_):
        if delete_patterns:  # as the hub's own does
            left = names(store / repo_id) - names(folder_path)
            for name in filter_repo_objects(sorted(left), allow_patterns=delete_patterns):
                (store / repo_id / name).unlink()
        shutil.copytree(folder_path, store / repo_id, dirs_exist_ok=True)
        return f"commit of {repo_id}"

    def model_info(repo, **_):
        if not (store / repo).is_dir():
            reply = SimpleNamespace(headers={}, request=None, status_code=404)
            raise RepositoryNotFoundError("404", response=reply)

    def snapshot_download(repo, *, revision=None, allow_patterns=None, **_):
        asked.append((repo, revision))
        copy = tmp_path / "cache" / repo
        for file in (p for p in (store / repo).rglob("*") if p.is_file()):
            name = file.relative_to(store / repo)
            if any(name.match(p) or name.as_posix().startswith(p[:-2]) for p in allow_patterns):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy / name)
        return str(copy)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return SimpleNamespace(store=store, asked=asked)


def names(folder):
    return {p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file()}


def test_what_is_pushed_is_fetched_by_its_name_and_answers_alike(hub, llama, own_cache, tmp_path):
    # training's leftovers lie beside the model, and stay there
    llama.model.save_pretrained(tmp_path / "trained")
    for left in ("experts.log.json", "log.jsonl", "checkpoints/step-3.pt", "train.csv"):
        (tmp_path / "trained" / left).parent.mkdir(exist_ok=True)
        (tmp_path / "trained" / left).write_text("left")
    (tmp_path / "trained" / "cases.json").write_text("[]")
    model = AtMoe.from_pretrained(tmp_path / "trained", llama.directory)
    assert model.push_to_hub("org/tiny") == "commit of org/tiny"

    layout = model.layout
    files = ("adapter_config.json", "adapter_model.safetensors")
    experts = {f"experts/{name}/{file}" for name in layout.expert_names for file in files}
    assert names(hub.store / "org/tiny") == experts | {
        "atmoe.json",
        "router.safetensors",
        "README.md",
        "cases.json",
    }
    again = AtMoe.from_pretrained("org/tiny", llama.directory, revision="v1")
    assert hub.asked == [("org/tiny", "v1")] and again.info.sha256 == model.info.sha256
    want, got = (m.answer(ASKED, sampling=Sampling(6)) for m in (model, again))
    assert got.answer_tokens == want.answer_tokens
    assert torch.equal(got.plan.mixing, want.plan.mixing)


def test_the_card_says_its_limits_first_its_experts_and_how_it_is_loaded(hub, llama, tmp_path):
    model = llama.build(page=Page(warning="Research demo. Nothing was cooked."), language="en")
    model.save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "atmoe" and card.data.language == "en"
    text = card.text
    assert text.index("Nothing was cooked.") < text.index("## Experts") < text.index("## Use")
    for group, experts in model.layout.groups:
        assert f"| {group} | {', '.join(experts)} |" in text
    assert 'base="PATH"' in text and "names their own copy" in text  # a base of this machine's


def test_a_card_of_ones_own_goes_along_with_the_same_model_and_no_other(
    llama, own_cache, tmp_path, caplog
):
    llama.model.save_pretrained(tmp_path / "one")
    (tmp_path / "one" / "README.md").write_text("Measured: 3.")
    model = AtMoe.from_pretrained(tmp_path / "one", llama.directory)
    model.save_pretrained(tmp_path / "same")
    assert (tmp_path / "same" / "README.md").read_text() == "Measured: 3."
    with torch.no_grad():
        model.router.gain.mul_(2)
    model.save_pretrained(tmp_path / "other")
    assert "Measured" not in (tmp_path / "other" / "README.md").read_text()
    assert not caplog.messages


def test_what_told_of_a_model_is_moved_aside_where_another_is_saved_over_it(
    llama, own_cache, tmp_path, caplog
):
    one = tmp_path / "one"
    llama.model.save_pretrained(one)
    told = {"README.md": "Measured: 3.", "cases.json": "[]", "reports/strength.json": "{}"}
    (one / "reports").mkdir()
    for name, text in told.items():
        (one / name).write_text(text)
    model = AtMoe.from_pretrained(one, llama.directory)
    model.save_pretrained(one)  # the same: all of it stays
    assert {name: (one / name).read_text() for name in told} == told and not caplog.messages
    for place in (f"of-{model.info.sha256[:12]}", f"of-{model.info.sha256[:12]}-2"):
        with torch.no_grad():
            model.router.gain.mul_(2)
        model.save_pretrained(one)
        assert {name: (one / place / name).read_text() for name in told} == told
        assert "Measured" not in (one / "README.md").read_text()
        assert not (one / "cases.json").exists() and f"moved into {one / place}." in caplog.text
        llama.model.save_pretrained(one)  # the first again, with what was said of it once more
        for name, text in told.items():
            (one / name).write_text(text)
    # and what a person wrote before any model lay there is theirs
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "README.md").write_text("Mine.")
    AtMoe.from_pretrained(one, llama.directory).save_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "README.md").read_text() == "Mine."


def test_what_another_model_pushed_there_is_not_fetched_with_this_one(
    hub, llama, own_cache, tmp_path
):
    llama.model.save_pretrained(tmp_path / "one")
    (tmp_path / "one" / "cases.json").write_text("[]")
    AtMoe.from_pretrained(tmp_path / "one", llama.directory).push_to_hub("org/tiny")
    pushed = hub.store / "org/tiny"
    for name in ("index/facts.json.gz", "experts/old/one/adapter_config.json", "LICENSE"):
        (pushed / name).parent.mkdir(parents=True, exist_ok=True)
        (pushed / name).write_text("{}")
    assert "cases.json" in names(pushed)
    llama.build(torch.full((LAYERS,), 2.0)).push_to_hub("org/tiny", ignore_patterns=["*.md"])
    assert "cases.json" in names(pushed)  # whoever chooses files deletes by themselves
    llama.build(torch.full((LAYERS,), 2.0)).push_to_hub("org/tiny")
    left = {"cases.json", "index/facts.json.gz", "experts/old/one/adapter_config.json"}
    assert not left & names(pushed) and "LICENSE" in names(pushed)


def test_the_shipped_model_takes_its_card_cases_and_index_along(hub, medical):
    medical.push_to_hub("org/medical")
    pushed = hub.store / "org/medical"
    for name in COMPANIONS:
        assert (pushed / name).read_bytes() == (ASSETS / name).read_bytes()
    index = names(ASSETS / "index")
    assert index and {f"index/{name}" for name in index} < names(pushed)
    assert not any(name.endswith(".log.json") for name in names(pushed))


def test_a_name_that_the_hub_has_not_is_a_sentence_and_a_directory_comes_first(
    hub, capsys, tmp_path, monkeypatch
):
    with pytest.raises(AssetError, match="The hub does not give out org/none"):
        AtMoe.from_pretrained("org/none")
    assert "The hub does not give out org/none" in refused(
        capsys, "route", ASKED, "--model", "org/none"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "here").mkdir(parents=True)
    with pytest.raises(AssetError, match=r"holds no AT-MoE model"):
        AtMoe.from_pretrained("org/here")
    # beside what lies here, a slip of the pen is no name on the hub
    for place in ("org/her", "org/her/"):
        with pytest.raises(AssetError, match=r"holds no AT-MoE model .*name the directory"):
            AtMoe.from_pretrained(place)
    assert hub.asked == []
