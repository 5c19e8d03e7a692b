"""A directory that is a Hugging Face Space: the page, one model, and what they need, but no data.

README.md            front matter, as this repository's own, but of the model that is taken along
requirements.txt     the same versions; torch without CUDA, for such a Space has no GPU
app.py, app/, atmoe/, assets/app/
assets/model/        what the page reads of the model, and no more: app.py opens it
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCard, SpaceCard, SpaceCardData

from atmoe import files
from atmoe.errors import AssetError, BaseModelError, DataError
from atmoe.flags import untaught
from atmoe.mixture import base
from atmoe.mixture.config import CONFIG, Info, names_of
from atmoe.mixture.hub import CARD, COMPANIONS
from atmoe.mixture.replacing import read_config
from atmoe.sources.index import FACTS, FOLDER, VECTORS

ROOT = Path(__file__).resolve().parents[2]
MODEL = Path("assets", "model")
ALONE = ("app.py", "LICENSE")
FOLDERS = {"app": (".py",), "atmoe": (".py", ".json", ".typed"), "assets/app": None}
"""What is copied of each; None = every file. What somebody left there beside the code stays out."""
INDEX = tuple(f"{FOLDER}/{name}" for name in (FACTS, VECTORS, untaught.FILE))
CPU = "--extra-index-url https://download.pytorch.org/whl/cpu"
LARGE = 10 * 10**6
"""A larger file, in bytes, is nothing for a plain git push to the hub."""


@dataclass(frozen=True)
class Space:
    """What was written.

    Attributes:
        sizes: bytes of each file, by its path in the directory.
        licence: as the model's card has it; "" = none is named.
        indexed: whether the index, and so the names of what was trained on, is among them.
    """

    sizes: dict[str, int]
    licence: str
    indexed: bool

    @property
    def large(self) -> list[str]:
        """Files above LARGE."""
        return [name for name, size in self.sizes.items() if size > LARGE]


def write_space(model: Path, out: Path) -> Space:
    """Write a new directory that can be uploaded as a Space.

    Args:
        model: a saved AT-MoE; nothing of it is loaded.
        out: the directory; one that is there must be empty.

    Raises:
        DataError: something lies in `out`, there is no folder for it, a card cannot be read, or
            this is no checkout.
        AssetError: the model is missing or is not as it was saved.
        BaseModelError: a Space could not find the model's base.
        OSError: it cannot be written; then nothing of it is left.
    """
    # 1. what can be refused
    files.must_have_folder(out, "DIR")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"{out} is there already and not empty; delete it, or name a new directory."
        )
    out = out.resolve()
    if not all((ROOT / name).exists() for name in (*ALONE, *FOLDERS)):
        raise AssetError(
            "A Space needs the page, which does not come with the package; git clone the "
            "repository, and run python -m atmoe space there."
        )
    info, layout = read_config(model)
    _check_base(model, info)
    card = _card(model / CARD, info)
    # 2. what is taken along, listed before anything is written, for `out` may lie in one of them
    wanted = [
        CONFIG,
        *names_of(layout),
        *(n for n in (*COMPANIONS, *INDEX) if (model / n).is_file()),
    ]
    taken = {Path(name): ROOT / name for name in (*ALONE, *_listed())}
    taken |= {MODEL / name: model / name for name in wanted}
    texts = {
        CARD: str(card),
        "requirements.txt": f"{CPU}\n{(ROOT / 'requirements.txt').read_text('utf-8')}",
        ".gitattributes": _attributes(taken),
    }
    # 3. the directory
    with files.appearing(out) as beside:
        for name, source in taken.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, beside / name)
        for text_name, text in texts.items():
            (beside / text_name).write_text(text, "utf-8")
        read_config(beside / MODEL)  # no save came between two of its files
    written = sorted(path for path in out.rglob("*") if path.is_file())
    return Space(
        {path.relative_to(out).as_posix(): path.stat().st_size for path in written},
        card.data.license or "",
        any((out / MODEL / name).is_file() for name in INDEX),
    )


def _listed() -> Iterator[str]:
    """Files of the checkout, by their paths in it."""
    for folder, endings in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden and (endings is None or path.suffix in endings):
                yield path.relative_to(ROOT).as_posix()


def _check_base(model: Path, info: Info) -> None:
    """That a machine which has nothing but the model finds its base.

    Raises:
        BaseModelError: it does not.
    """
    if base.is_published(info.base_sha256, info.base_locator):
        return
    place = info.base_locator.get("path", "a place that it does not name")
    fix = "train one on a base of the hub (--base OWNER/BASE)"
    if "path" in info.base_locator and "gguf" not in info.base_locator:
        fix = (
            f"upload that (hf upload OWNER/BASE {place}), then save the model with it: "
            f'AtMoe.from_pretrained("{model}", "OWNER/BASE").save_pretrained("NEW")'
        )
    raise BaseModelError(
        f"{model} was trained on the base {info.base_name} at {place}, where no Space finds it; "
        f"{fix}."
    )


def _card(path: Path, info: Info) -> SpaceCard:
    """README.md: the repository's own front matter, with the model's licence, data and base.

    Raises:
        DataError: a card cannot be read.
    """
    own, of_model = _front_matter(ROOT / CARD), _front_matter(path)
    fields = {
        **own,
        "title": info.page.title,
        "sdk_version": _pinned("gradio"),
        "license": of_model.get("license"),
        "datasets": of_model.get("datasets"),
    }
    if info.base_sha256 != base.DEFAULT.sha256:
        fields["models"] = [info.base_locator["hub"]]
        # A file list would have to be guessed: the base is fetched at the first start.
        fields.pop("preload_from_hub", None)
    text = (
        f"---\n{SpaceCardData(**fields).to_yaml()}\n---\n\n# {info.page.title}\n\n"
        f"The AT-MoE model *{info.name}* on {info.base_name}: its answers, the named experts "
        "that each was mixed from, and\na mixture that one can change by hand. "
        f"{info.page.warning} Enter nothing that could identify anybody.\n"
    )
    if path.is_file():
        text += f"\nIts data, limits and measures: [the model card]({(MODEL / CARD).as_posix()}).\n"
    return SpaceCard(text)


def _front_matter(path: Path) -> dict:
    """What a card says of itself by name; nothing where there is no card.

    Raises:
        DataError: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        return ModelCard(path.read_text("utf-8")).data.to_dict()
    except Exception as error:  # of YAML's own kinds, and of the hub's library
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is no card ({reason}); mend what stands between its ---."
        ) from error


def _pinned(package: str) -> str:
    """The version that requirements.txt names."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    [version] = [line.partition("==")[2] for line in lines if line.startswith(f"{package}==")]
    return version.strip()


def _attributes(taken: dict[Path, Path]) -> str:
    """.gitattributes for whoever clones the Space and pushes: binary files go by Git LFS."""
    endings = {path.suffix for path in taken if path.suffix in (".safetensors", ".gz", ".bin")}
    return "".join(f"*{e} filter=lfs diff=lfs merge=lfs -text\n" for e in sorted(endings))
