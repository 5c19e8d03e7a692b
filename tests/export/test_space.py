"""A Space as a directory: what is in it, what is not, and what is refused."""

import shlex
import shutil
import subprocess

import pytest
from commands import refused, run
from conftest import ASSETS, ROOT
from huggingface_hub import HfApi, SpaceCard, constants
from spaces import REPO, hub_cache, published
from test_packaging import listed

from atmoe import AtMoe
from atmoe.export import space
from atmoe.mixture.replacing import read_config

CARD = "---\nlicense: cc-by-4.0\ndatasets: [a/b]\n---\n\n# Tiny\n"


@pytest.fixture
def tiny(llama, tmp_path):
    """A model with a card, and with what training leaves beside it."""
    model = published(llama, tmp_path / "kitchen")
    (model / "README.md").write_text(CARD)
    (model / "reports").mkdir()
    for name in ("experts.log.json", "router.pt", "own.jsonl", "reports/evaluate.json"):
        (model / name).write_text("{}")
    return model


def files_in(folder) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_medical_space_holds_the_page_the_model_and_no_report_that_the_page_does_not_read(
    capsys, tmp_path
):
    out = tmp_path / "space"
    said = run(capsys, "space", str(out), "--model", str(ASSETS))
    names = files_in(out)
    assert said["files"] == len(names)
    assert said["bytes"] == sum((out / name).stat().st_size for name in names)
    tracked = subprocess.run(
        [
            "git",
            "ls-files",
            "-co",
            "--exclude-standard",
            "app",
            "atmoe",
            "assets/app",
            "app.py",
            "LICENSE",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("no repository here")
    code = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}
    code -= {"app/README.md", "atmoe/README.md"}
    own = {"README.md", "requirements.txt", ".gitattributes"}
    model = {name for name in names if name.startswith("assets/model/")}
    assert names == code | own | model
    assert {name.removeprefix("assets/model/") for name in model if "/experts/" not in name} == {
        *("atmoe.json", "router.safetensors", "README.md", "cases.json", "reports/strength.json"),
        *(f"index/{name}" for name in ("facts.json.gz", "vectors.safetensors", "words.bin")),
    }
    assert read_config(out / "assets" / "model") == read_config(ASSETS)
    # Every binary file goes by LFS where somebody pushes with git.
    patterns = {line.split()[0] for line in (out / ".gitattributes").read_text().splitlines()}
    for name in names:
        if b"\0" in (out / name).read_bytes()[:8000]:
            assert f"*{(out / name).suffix}" in patterns, name


def test_the_medical_space_says_of_itself_what_the_repository_does(capsys, tmp_path):
    run(capsys, "space", str(tmp_path / "space"), "--model", str(ASSETS))
    written = SpaceCard.load(tmp_path / "space" / "README.md", ignore_metadata_errors=False).data
    own = SpaceCard.load(ROOT / "README.md", ignore_metadata_errors=False).data
    assert written.to_dict() == own.to_dict()
    assert f"gradio=={written.sdk_version}" in listed("requirements.txt")
    assert (tmp_path / "space" / written.app_file).is_file()
    assert 0 < len(written.short_description) <= 60  # the hub takes no more


def test_another_model_brings_its_own_licence_data_and_base(tiny, capsys, tmp_path):
    out = tmp_path / "space"
    said = run(capsys, "space", str(out), "--model", str(tiny))
    data = SpaceCard.load(out / "README.md").data
    assert (data.license, data.datasets, data.models) == ("cc-by-4.0", ["a/b"], [REPO])
    assert "preload_from_hub" not in data.to_dict()
    assert said["licence"] == "cc-by-4.0" and not said["indexed"] and not said["large"]
    left = {name for name in files_in(out / "assets" / "model") if not name.startswith("experts/")}
    assert left == {"atmoe.json", "router.safetensors", "README.md"}
    assert listed(out / "requirements.txt")[0].startswith("--extra-index-url")
    assert listed(out / "requirements.txt")[1:] == listed("requirements.txt")


def test_the_command_that_is_shown_uploads_this_directory_as_a_space(
    tiny, capsys, tmp_path, monkeypatch
):
    from huggingface_hub.cli.hf import main

    out = tmp_path / "a space"  # as a shell has to be told
    out.mkdir()
    command = run(capsys, "space", str(out), "--model", str(tiny))["command"]
    asked = {}

    class Created:
        repo_id = "OWNER/NAME"

    monkeypatch.setattr(HfApi, "create_repo", lambda self, **k: asked.update(k) or Created)
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **k: asked.update(k) or "done")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_UPDATE_CHECK", True, raising=False)
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr()
    assert asked["repo_id"] == "OWNER/NAME" and asked["repo_type"] == "space"
    assert asked["space_sdk"] == "gradio" and asked["folder_path"] == str(out)


def test_what_is_there_already_is_left(tiny, capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    said = refused(capsys, "space", str(tmp_path / "mine"), "--model", str(tiny))
    assert "not empty" in said and "name a new directory" in said
    assert files_in(tmp_path / "mine") == {"letter.txt"}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_large_file_and_a_missing_licence_are_said(tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "LARGE", 5000)
    (tiny / "README.md").unlink()
    from atmoe.cli.main import main

    main(["space", str(tmp_path / "space"), "--model", str(tiny)])
    said = capsys.readouterr().out
    assert "names no licence" in said and "router.safetensors has 0 MB" in said
    assert SpaceCard.load(tmp_path / "space" / "README.md").data.license is None


def test_a_base_of_this_machine_alone_is_refused_with_a_fix_that_holds(
    llama, capsys, tmp_path, own_cache, monkeypatch
):
    local = llama.build(base_locator={"path": str(llama.directory)})
    local.save_pretrained(tmp_path / "local")
    said = refused(capsys, "space", str(tmp_path / "space"), "--model", str(tmp_path / "local"))
    assert f"hf upload OWNER/BASE {llama.directory}" in said and "where no Space finds it" in said
    assert not (tmp_path / "space").exists()
    # 1. what the sentence says, where the hub has the base by now
    home = hub_cache(tmp_path / "hf", llama.directory)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    AtMoe.from_pretrained(tmp_path / "local", REPO).save_pretrained(tmp_path / "new")
    # 2. then there is nothing to refuse
    run(capsys, "space", str(tmp_path / "space"), "--model", str(tmp_path / "new"))


@pytest.mark.parametrize(
    "locator", [{}, {"gguf": "own.gguf", "sha256": "0" * 64, "path": "/x/own.gguf"}]
)
def test_a_base_that_cannot_be_put_on_the_hub_is_refused_too(llama, capsys, tmp_path, locator):
    llama.build(base_locator=locator).save_pretrained(tmp_path / "local")
    said = refused(capsys, "space", str(tmp_path / "space"), "--model", str(tmp_path / "local"))
    assert "train one on a base of the hub" in said and not (tmp_path / "space").exists()


def test_a_broken_card_is_a_sentence(tiny, capsys, tmp_path):
    (tiny / "README.md").write_text("---\nlicense: [a\n---\n")
    said = refused(capsys, "space", str(tmp_path / "space"), "--model", str(tiny))
    assert "is no card" in said and "mend what stands between" in said


def test_a_changed_model_is_refused(tiny, capsys, tmp_path):
    with (tiny / "router.safetensors").open("ab") as file:
        file.write(b"x")
    said = refused(capsys, "space", str(tmp_path / "space"), "--model", str(tiny))
    assert "sha256 differs" in said and not (tmp_path / "space").exists()


def test_a_directory_inside_the_checkout_does_not_hold_itself(tiny, capsys, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    for name in (*space.ALONE, "README.md", "requirements.txt"):
        checkout.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in space.FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    monkeypatch.setattr(space, "ROOT", checkout)
    (checkout / "app" / "patients.csv").write_text("name\n")  # nothing of the page's
    (checkout / "assets" / "app" / ".notes").write_text("x")
    run(capsys, "space", str(checkout / "app" / "space"), "--model", str(tiny))
    names = files_in(checkout / "app" / "space")
    assert not {name for name in names if "space/" in name or ".csv" in name or "notes" in name}
