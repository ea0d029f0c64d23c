"""Write model_before_wings/: a model folder as the package saved it before its modules moved, and one of its renders.

Run it in a checkout of the commit that README.md names; the modules that it imports are no longer there.
"""

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from eqvid_tf.model import EquivariantVideoModel, remember

from eqvid_tf import affine
from eqvid_tf.config import Config, ModelConfig

FOLDER = Path(__file__).parent / "model_before_wings"


def main() -> None:
    keras.utils.set_random_seed(0)
    config = Config(model=ModelConfig(width=4, canvas=(16, 16), memory=2, given=True), clips=("noise",))
    model, rng = EquivariantVideoModel(config.model, config.loss), np.random.default_rng(0)
    for weight in model.trainable_weights:  # those that start at zero, too: every network is in a render
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    remember(model, rng.uniform(0.2, 0.8, (2, 16, 16, 3)))
    frames = np.clip(model.h.pictures + rng.normal(0, 0.02, (2, 16, 16, 3)), 0, 1).astype("float32")
    frames[0, 4:10, 3:9] = rng.uniform(size=(6, 6, 3))  # a character
    motion = affine.build(shift=(0.3, -0.2), turn=0.4, zoom=1.2)[None].numpy()
    render = model.render(frames[:1], frames[1:], motion).numpy()
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
    metrics = {"steps": 0, "seconds": 0.0, "device": "CPU", "losses": {}, "verdict": [], "versions": versions}
    FOLDER.mkdir()
    (FOLDER / "config.json").write_text(config.to_json(), encoding="utf-8")
    (FOLDER / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    model.save(FOLDER / "model.keras")
    np.savez_compressed(FOLDER / "render.npz", frames=frames, motion=motion, render=render)


if __name__ == "__main__":
    main()
