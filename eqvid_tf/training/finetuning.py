"""Fine-tuning: a new character, or a new background, for a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from eqvid_tf.config import Config, ModelConfig, TrainConfig
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.model_folder import find_model_folder, load, read_config, version_of
from eqvid_tf.training.material import read_material
from eqvid_tf.training.train import check_motion, compile_model, finish, learn, prepare


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
    config = grow_config(before, clips, train or TrainConfig(minutes=2.0))
    keras.utils.set_random_seed(config.train.seed)
    check_motion(config.model, clips)
    new = prepare(clips, before.model.canvas, log, config.train.characters if model.T.learned else "1")
    config = dataclasses.replace(config, model=with_memory(before.model, len(new.clips)))
    old = read_material(source, before.model.canvas)
    if not old.clips:
        log(f"{source.name} keeps no frames of its clips (eqvid train --keep-frames); it may forget them")
    model = compile_model(grow(model, new.backgrounds), config.train)
    learned = learn(model, config, new, old, None, callbacks=callbacks, log=log)
    target = Path(folder or source)
    target.mkdir(parents=True, exist_ok=True)
    version = 1 if folder else 1 + version_of(source)
    return finish(model, config, new, target, learned, source=source, version=version)


def grow_config(before: Config, clips: Sequence[Clip], train: TrainConfig) -> Config:
    """The config of a model that learns more clips: its own size and precision, the rest of `train` as given."""
    train = dataclasses.replace(train, image_size=before.train.image_size, precision=before.train.precision)
    names = (*before.clips, *(clip.name for clip in clips))
    return dataclasses.replace(before, model=with_memory(before.model, len(clips)), train=train, clips=names)


def with_memory(config: ModelConfig, count: int) -> ModelConfig:
    """The same networks with room for `count` more backgrounds in h's memory."""
    return dataclasses.replace(config, memory=config.memory + count, given=True)


def grow(model: EquivariantVideoModel, backgrounds: Sequence[np.ndarray]) -> EquivariantVideoModel:
    """A copy of a model, not compiled, whose h stores more backgrounds: float32 [H, W, 3] in [0, 255] each."""
    config = with_memory(model.config, len(backgrounds))
    larger = EquivariantVideoModel(config, model.weights_of, seed=model.seed, dtype=model.dtype_policy)
    for weight, known in zip(larger.weights, model.weights):
        if weight.shape == known.shape:  # all but h's memory
            weight.assign(known)
    larger.seconds_trained.assign(0.0)
    if larger.h.remembers:
        larger.h.remember(model.h.pictures)
        larger.h.remember(np.stack(backgrounds) / 255, model.config.memory)
    return larger
