"""Check that an export of this TensorFlow loads on an older one's runtime, and gives the same numbers.

    python benchmarks/older_runtime.py MODEL [MODEL ...] --python OLDER/bin/python [--output FILE]

Every signature of the newest SavedModel of each model folder runs on the same numbers in both; the older Python needs
TensorFlow and numpy alone. Ends with exit code 1 where a number differs by more than 1e-5, or a picture by more than a
level.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import numpy as np
import tensorflow as tf
from record import write

SIZES = ((64, 64), (45, 71))
MOST = {"numbers": 1e-5, "levels": 1}


def newest(folder: Path) -> Path:
    """The SavedModel of a model folder with the highest version."""
    return max((path.parent for path in folder.glob("*/saved_model.pb")), key=lambda path: int(path.name))


def answers(saved: Path) -> dict:
    """The outputs for fixed inputs, numpy, by "signature/size/output"."""
    module = tf.saved_model.load(str(saved))
    made = {}
    for name, signature in sorted(module.signatures.items()):
        for size in SIZES:
            rng = np.random.default_rng(0)
            inputs = {
                key: example(key, spec, size, rng)
                for key, spec in sorted(signature.structured_input_signature[1].items())
            }
            for key, value in signature(**inputs).items():
                made[f"{name}/{size[0]}x{size[1]}/{key}"] = decode(value) if value.dtype == tf.string else value.numpy()
    return made


def example(name: str, spec: tf.TensorSpec, size: tuple[int, int], rng: np.random.Generator) -> tf.Tensor:
    """Two motions, two pictures as PNG, or two frames or maps of a size."""
    if name == "motion":
        return tf.constant(np.eye(2, 3) + rng.uniform(-0.3, 0.3, (2, 2, 3)), tf.float32)
    if spec.dtype == tf.string:
        return tf.io.encode_png(tf.constant(rng.integers(0, 256, (2, *size, 3)), tf.uint8))
    return tf.constant(rng.random((2, *size, spec.shape[-1])), tf.float32)


def decode(files: tf.Tensor) -> np.ndarray:
    return np.stack([tf.io.decode_png(file).numpy() for file in files])


def compare(saved: Path, older: str) -> dict:
    """The largest difference between the runtimes, of numbers and of pictures' levels; the older one's versions."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "answers.npz"
        done = subprocess.run(
            [older, __file__, str(saved), "--answers", str(file)], check=True, capture_output=True, text=True
        )
        before, now = np.load(file), answers(saved)
        assert set(now) == set(before.files)
        differences = {key: float(np.abs(now[key].astype(np.float64) - before[key]).max()) for key in now}
    kinds = {
        "numbers": [value for key, value in differences.items() if now[key].dtype != np.uint8],
        "levels": [value for key, value in differences.items() if now[key].dtype == np.uint8],
    }
    return {
        "signatures": len({key.split("/")[0] for key in now}),
        "compared": sum(value.size for value in now.values()),
        "largest_difference": {kind: max(values, default=0.0) for kind, values in kinds.items()},
        "older": json.loads(done.stdout.splitlines()[-1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--python", help="the older environment's Python")
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)  # for the older Python
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/older_runtime.json")
    args = parser.parse_args()
    if args.answers:
        np.savez(args.answers, **answers(args.models[0]))
        print(json.dumps({"python": sys.version.split()[0], "tensorflow": tf.__version__, "numpy": np.__version__}))
        return
    figures = {"sizes": SIZES, "models": {path.name: compare(newest(path), args.python) for path in args.models}}
    write(args.output, figures)
    print(json.dumps(figures, indent=1))
    worst = {kind: max(model["largest_difference"][kind] for model in figures["models"].values()) for kind in MOST}
    sys.exit(any(worst[kind] > MOST[kind] for kind in MOST))


if __name__ == "__main__":
    main()
