"""Model folders: what training writes and everything else reads, by path or by the name of one on a shelf."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from eqvid_tf.config import Config
from eqvid_tf.data.output import OutputError, atomic, write_text

if TYPE_CHECKING:  # TensorFlow is imported with the first model: the command line answers --help without it
    from eqvid_tf.core.model import EquivariantVideoModel

_FROM_PYTHON = """\
## From Python

`eqvid_tf.load("PATH")` loads the model of this folder. With Keras alone, after an import by which it knows the classes:

```python
import eqvid_tf.training.train  # the classes of the model and of its optimizer
import keras

model = keras.saving.load_model("model.keras")
```
"""
_NOT_JUDGED = "- Trust: not judged; `eqvid evaluate` says of its clips how far the split can be trusted."
CHECKOUT = Path(__file__).parents[1] / "saved_models"  # in a clone of the repository; not in an installed package


def model_shelves() -> list[Path]:
    """The folders that hold models by name: the one that EQVID_MODELS names, and a checkout's saved_models/."""
    named = os.environ.get("EQVID_MODELS")
    return [*([Path(named)] if named else []), CHECKOUT]


def folders_on(shelf: Path) -> list[Path]:
    """The model folders on a shelf."""
    return [path.parent for path in sorted(shelf.glob("*/config.json"))]


def models_by_name() -> dict[str, Path]:
    """Every model that is found by name; of two with one name, that of the first shelf."""
    return {folder.name: folder for shelf in reversed(model_shelves()) for folder in folders_on(shelf)}


def find_model_folder(name: str | Path) -> Path:
    """Find a model folder by its path, else by its name on a shelf (see `model_shelves`)."""
    return Path(name) if Path(name).exists() else models_by_name().get(str(name), Path(name))


def version_of(folder: Path) -> int:
    """The newest SavedModel version in a model folder; 0 where there is none."""
    return max((int(path.name) for path in folder.glob("*/") if path.name.isdigit()), default=0)


def verdict_in_words(names: list[str]) -> str:
    """The names of the trivial solutions that were found, or that there are none."""
    return "; ".join(names) or "no trivial solution found"


def load(folder: str | Path) -> EquivariantVideoModel:
    """Load the model of a model folder: by path, or by name from a shelf (`model_shelves`).

    Raises:
        OutputError: it is no model folder, its training did not end, or its format is newer than this package reads.
    """
    folder = find_model_folder(folder)
    read_config(folder)
    if not (folder / "model.keras").is_file():
        raise OutputError(f"{folder}: there is no model.keras. Give a folder that eqvid train wrote.")
    return read_model(folder / "model.keras")


def read_model(path: Path, compile: bool = False) -> EquivariantVideoModel:
    """Read the model of a .keras file, with the optimizer's state if `compile` is set.

    Raises:
        OutputError: the file is damaged, or of something else.
    """
    import keras

    import eqvid_tf.core.model  # noqa: F401 - registers the classes in the file

    try:
        return keras.saving.load_model(path, compile=compile)
    except Exception as error:  # zip, HDF5, JSON and Keras have each their own for a damaged file
        raise OutputError(
            f"{path}: the file is damaged, or no model of eqvid_tf. Train again, or restore it."
        ) from error


def read_config(folder: str | Path, name: str = "config.json") -> Config:
    """Read config.json of a model folder, or checkpoint.json of one that is being trained.

    Raises:
        OutputError: the file is missing, or is no config that this package reads.
    """
    path = Path(folder) / name
    if not path.is_file() and (Path(folder) / "checkpoint.json").is_file():
        raise OutputError(f"{folder}: its training did not end. Go on with eqvid train --resume.")
    if not path.is_file():
        names = f", or name one of these: {', '.join(sorted(shelf))}" if (shelf := models_by_name()) else ""
        raise OutputError(
            f"{folder}: this is no model folder, there is no {name} in it. Train one with eqvid train{names}."
        )
    try:
        return Config.from_json(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise OutputError(f"{path}: {error}") from error


def read_metrics(folder: Path) -> dict:
    """Read metrics.json of a model folder."""
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def write_model(model: EquivariantVideoModel, config: Config, metrics: dict, folder: Path, version: int = 1) -> None:
    """Write config.json, metrics.json, README.md, the SavedModel and, last, model.keras.

    A folder with a model.keras is therefore complete.

    Args:
        model: a trained one.
        config: of the model and its training.
        metrics: of the training, see `eqvid_tf.training.train.finish`.
        folder: an existing folder.
        version: of the SavedModel.
    """
    from eqvid_tf.serving.saved_model import export

    write_text(folder / "config.json", config.to_json())
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1))
    write_text(folder / "README.md", _model_card(config, metrics))
    export(model, folder, version)
    with atomic(folder / "model.keras") as draft:
        model.save(draft)


def note_trust(folder: Path, trust: dict[str, str]) -> None:
    """Say in a model folder's metrics.json and model card how far its split of clips can be trusted.

    Args:
        folder: a model folder.
        trust: a line for each clip, by name.
    """
    metrics = read_metrics(folder)
    metrics["trust"] = {**metrics.get("trust", {}), **trust}
    write_text(folder / "metrics.json", json.dumps(metrics, indent=1))
    write_text(folder / "README.md", _model_card(read_config(folder), metrics))


def rename_characters(folder: Path, name_of: tuple[int, ...]) -> None:
    """Give the characters of a model other numbers of names, which are the axis K of its signatures.

    The newest SavedModel version and model.keras are written anew, where the model knows several characters and the
    numbers are others than before; its weights stay.

    Args:
        folder: a model folder.
        name_of: of the character at each place in memory, see `ModelConfig.name_of`.
    """
    config = read_config(folder)
    if _has_other_names(config, name_of):
        model, config = with_names(load(folder), config, name_of)
        write_model(model, config, read_metrics(folder), folder, max(version_of(folder), 1))


def with_names(
    model: EquivariantVideoModel, config: Config, name_of: tuple[int, ...]
) -> tuple[EquivariantVideoModel, Config]:
    """A model and its config with other numbers of names, see `rename_characters`; the same where those are."""
    if not _has_other_names(config, name_of):
        return model, config
    named = dataclasses.replace(config.model, name_of=name_of)
    renamed = type(model)(named, model.weights_of, seed=model.seed, dtype=model.dtype_policy)
    renamed.set_weights(model.get_weights())
    return renamed, dataclasses.replace(config, model=named)


def _has_other_names(config: Config, name_of: tuple[int, ...]) -> bool:
    known = config.model
    return bool(known.clip_of) and known.name_of != name_of and len(name_of) == known.memory


def _model_card(config: Config, metrics: dict) -> str:
    """README.md of a model folder, in Markdown."""
    model, losses = config.model, metrics.get("losses", {})
    clips, steps = ", ".join(config.clips), f"{metrics['steps']} steps of {config.train.batch_size} pairs"
    time = f"{metrics['seconds']:.0f} s on {metrics['device']}, seed {config.train.seed}"
    networks = f"{model.structure}, stride {model.stride}, width {model.width}, estimator `{model.estimator}`"
    files = "`model.keras`, `config.json`, `metrics.json`"
    last = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
    lines = [
        "# Model card",
        "",
        "An equivariant video model: f takes the character out of a frame, h the background, g draws them, moved.",
        "",
        f"- Fine-tuned from: {metrics.get('finetuned_from', 'nothing, trained anew')}.",
        f"- Trained on: {clips}; {steps} in {time}.",
        f"- Characters: {model.characters if model.clip_of else 'one in each clip'}; `cast.json` names them.",
        f"- Networks: {networks};",
        f"  canvas {model.canvas[1]} x {model.canvas[0]}, the size of the frames that they saw.",
        f"- Last losses: {last}.",
        f"- Verdict: {verdict_in_words(metrics['verdict'])}.",
        *([f"- Trust, {clip}: {line}" for clip, line in metrics.get("trust", {}).items()] or [_NOT_JUDGED]),
        "- Meant for: the characters and backgrounds of the clips it saw; others are cut out badly or not at all.",
        f"- Files: `1/` SavedModel (the folder is a TensorFlow Serving base path), {files}.",
        "- Licence: that of the clips it was trained on; the code is Apache-2.0.",
        "",
        _FROM_PYTHON,
    ]
    return "\n".join(lines)
