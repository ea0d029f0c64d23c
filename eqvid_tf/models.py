"""Where trained models are found: by path, or by the name of one that is on a shelf."""
from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).parents[1] / "saved_models"


def shelves() -> list[Path]:
    """The folders that hold models by name: the one that EQVID_MODELS names, and a checkout's saved_models/."""
    named = os.environ.get("EQVID_MODELS")
    return [*([Path(named)] if named else []), CHECKOUT]


def folders(shelf: Path) -> list[Path]:
    """The model folders on a shelf."""
    return [path.parent for path in sorted(shelf.glob("*/config.json"))]


def on_the_shelf() -> dict[str, Path]:
    """Every model that is found by name; the first shelf goes first."""
    return {folder.name: folder for shelf in reversed(shelves()) for folder in folders(shelf)}


def model_folder(name: str | Path) -> Path:
    """A model folder by path; or, where there is none, by its name on a shelf (see `shelves`)."""
    return Path(name) if Path(name).exists() else on_the_shelf().get(str(name), Path(name))


def version_of(folder: Path) -> int:
    """The newest SavedModel version in a model folder; 0 where there is none."""
    return max((int(path.name) for path in folder.glob("*/") if path.name.isdigit()), default=0)
