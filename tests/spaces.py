"""A tiny model whose base is on the hub, and a hub's cache that holds it: no hub is asked."""

import shutil
from pathlib import Path

REPO, REVISION = "tiny/llama", "0123456789abcdef0123456789abcdef01234567"
LOCATOR = {"hub": REPO, "revision": REVISION}


def hub_cache(home: Path, directory: Path) -> Path:
    """What a download of the base leaves in $HF_HOME."""
    repo = home / "hub" / f"models--{REPO.replace('/', '--')}"
    shutil.copytree(directory, repo / "snapshots" / REVISION)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(REVISION)
    return home


def published(world, path: Path) -> Path:
    """A saved model that names the hub as its base's place."""
    world.build(base_locator=LOCATOR).save_pretrained(path)
    return path
