"""Fine-tuning: a new character, or a new background, for a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from eqvid_tf.camera.stabilization import stabilize
from eqvid_tf.config import Config, ModelConfig, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.model_folder import find_model_folder, load, read_config, version_of
from eqvid_tf.training.material import TrainingClips, read_material
from eqvid_tf.training.train import characters_of, check_motion, compile_model, finish, learn, prepare


def finetune(
    source: str | Path,
    clips: Sequence[Clip],
    folder: str | Path | None = None,
    *,
    train: TrainConfig | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    log: Callable[[str], None] = lambda line: None,
) -> dict:
    """Train the model of a folder further, on clips of a new character or with a new background, and write it.

    A tenth of the pairs are of the frames that `source` keeps of its own clips, if it was trained with --keep-frames.
    Without them it forgets its old characters; see docs/finetuning.md.

    Args:
        source: a model folder, or the name of one, see `eqvid_tf.load`.
        clips: of any size; they are fitted on the model's canvas.
        folder: the new model folder; None: into `source` itself, as its next SavedModel version, which appears when it
            is complete.
        train: minutes or steps, learning rate, seed; size and precision are those of the source.
        callbacks: of Keras, besides the project's own.
        log: gets one line for each thing worth saying.

    Returns:
        Metrics, as in metrics.json.

    Raises:
        OutputError: `source` is no model folder, or cannot be read.
        ClipError: a clip lacks what the model needs, or what `source` keeps is damaged.
        RuntimeError: as `eqvid_tf.training.train.train`. `source` stays as it was.
    """
    source = find_model_folder(source)
    before, model = read_config(source), load(source)
    train = train or TrainConfig(minutes=2.0)
    keras.utils.set_random_seed(train.seed)
    check_motion(before.model, clips)
    clips = [stabilize(clip, mosaic=before.model.mosaic) for clip in clips]
    new = prepare(clips, before.model.canvas, log, characters_of(dataclasses.replace(before, train=train)))
    config = grow_config(before, clips, new, train)
    old = read_material(source, before.model.canvas)
    if not old.clips:
        log(f"{source.name} keeps no frames of its clips (eqvid train --keep-frames); it may forget them")
    model = compile_model(grow(model, config.model, new.backgrounds), config.train)
    learned = learn(model, config, new, old, None, callbacks=callbacks, log=log)
    target = Path(folder or source)
    target.mkdir(parents=True, exist_ok=True)
    version = 1 if folder else 1 + version_of(source)
    return finish(model, config, new, target, learned, source=source, version=version, log=log)


def grow_config(before: Config, clips: Sequence[Clip], new: TrainingClips, train: TrainConfig) -> Config:
    """The config of a model that learns more clips: its own size and precision, the rest of `train` as given."""
    train = dataclasses.replace(train, image_size=before.train.image_size, precision=before.train.precision)
    names = (*before.clips, *(clip.name for clip in clips))
    model = before.model.with_clips(new.clip_of, before.model.memory)
    return dataclasses.replace(before, model=model, train=train, clips=names)


def grow(model: EquivariantVideoModel, config: ModelConfig, backgrounds: Sequence[np.ndarray]) -> EquivariantVideoModel:
    """A copy of a model, not compiled, with more places in memory, for backgrounds float32 [H, W, 3] in [0, 255]."""
    larger = EquivariantVideoModel(config, model.weights_of, seed=model.seed, dtype=model.dtype_policy)
    for name in ("f", "h", "g", "T", "identity"):
        if former := getattr(model, name):
            for weight, known in zip(getattr(larger, name).weights, former.weights):
                if weight.name != "pictures":
                    weight.assign(_grown(weight, known))
    larger.hint_strength.assign(model.hint_strength)
    if larger.h.remembers:
        larger.h.remember(model.h.pictures)
        larger.h.remember(np.stack(backgrounds) / 255, model.config.memory)
    return larger


def _grown(weight: keras.Variable, known: keras.Variable) -> np.ndarray:
    """A weight as it is known; of what tells characters apart the last axis has a score more for each new one."""
    value = np.array(weight)
    value[..., : known.shape[-1] if known.shape else None] = known
    return value
