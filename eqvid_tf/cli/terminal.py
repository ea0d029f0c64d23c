"""What the commands share: options that several take, progress, lines on stderr, and a quiet start of TensorFlow."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from eqvid_tf.config import TrainConfig


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        default="auto",
        metavar="DIR",
        help="where decoded frames are kept: a folder, or none (default: the user's cache folder)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there and not empty")


def add_frames(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frames", type=frame_range, metavar="A:B", help="use frames A up to, not including, B of each clip"
    )


def add_network_only(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network-only",
        action="store_true",
        help="the networks' own output alone: no pixels taken from frames, no plate",
    )


def frame_range(text: str) -> tuple[int | None, int | None]:
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first) if first else None, int(last) if last else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B, as in 60:203; received {text!r}") from None


def say(line: str) -> None:
    """A line on stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def progress(items, label: str, total: int | None = None):
    from tqdm import tqdm

    return tqdm(items, total=total, desc=label, file=sys.stderr, mininterval=0.5, leave=False)


@contextlib.contextmanager
def bar(train: TrainConfig):
    """A Keras callback that shows how far training is, in seconds or steps, and the losses; it is gone after the block."""
    import keras
    from tqdm import tqdm

    class Bar(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            total = train.steps or train.minutes * 60
            if hasattr(self, "shown"):  # training goes on, with new hints
                return
            self.shown = tqdm(
                total=round(total),
                desc="training",
                file=sys.stderr,
                mininterval=1.0,
                bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed}{postfix}",
            )

        def on_train_batch_end(self, batch, logs=None):
            done = int(self.model.optimizer.iterations) if train.steps else float(self.model.seconds_trained)
            self.shown.n = min(self.shown.total, done)
            if batch % 10 == 0:
                self.shown.set_postfix(
                    {name.removesuffix("_loss"): f"{float(v):.3g}" for name, v in (logs or {}).items()}, refresh=False
                )
            self.shown.update(0)

    callback = Bar()
    try:
        yield callback
    finally:
        if hasattr(callback, "shown"):
            callback.shown.close()


@contextlib.contextmanager
def quietly():
    """Drops what libraries write to stderr while TensorFlow starts and looks for a GPU; TF_CPP_MIN_LOG_LEVEL=0 shows it."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") < "2" or "tensorflow" in sys.modules:
        yield
        return
    shown = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow

        tensorflow.config.list_physical_devices()
        yield
    finally:
        os.dup2(shown, 2)
        os.close(shown)
