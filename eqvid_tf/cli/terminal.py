"""What commands share: options that several take, progress, lines on stderr, and a quiet start of TensorFlow."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqvid_tf.config import ScheduleConfig, TrainConfig

if TYPE_CHECKING:
    import keras

    from eqvid_tf.data.clips import Clip


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add --cache."""
    parser.add_argument(
        "--cache",
        default="auto",
        metavar="DIR",
        help="where decoded frames are kept: a folder, or none (default: the user's cache folder)",
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite."""
    parser.add_argument("--overwrite", action="store_true", help="replace an output that is there and not empty")


def add_frames(parser: argparse.ArgumentParser) -> None:
    """Add --frames, a cut of the clips."""
    parser.add_argument(
        "--frames", type=_frame_range, metavar="A:B", help="use frames A up to, not including, B of each clip"
    )


def add_of(parser: argparse._ActionsContainer) -> None:
    """Add --of, a character of the clip."""
    parser.add_argument(
        "--of", metavar="N", help="the character of this number or name (of eqvid separate's characters.json)"
    )


def add_network_only(parser: argparse.ArgumentParser) -> None:
    """Add --network-only."""
    parser.add_argument(
        "--network-only",
        action="store_true",
        help="the networks' own output alone: no pixels taken from frames, no background of their median",
    )


def _frame_range(text: str) -> tuple[int | None, int | None]:
    """The type of --frames; argparse drops the text of any other error."""
    from eqvid_tf.data.clips import frame_range

    try:
        return frame_range(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def opened(path: Path, frames: tuple[int | None, int | None] | None, cache: str) -> Clip:
    """Open a clip, and say what a person should know of how it is read, one line each."""
    from eqvid_tf.data.clips import open_clip

    clip = open_clip(path, frames=frames, cache=cache)
    for remark in clip.remarks:
        say(f"{clip.name}: {remark}")
    return clip


def say(line: str) -> None:
    """Write a line to stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def progress(items: Iterable[Any], label: str, total: int | None = None) -> Iterable[Any]:
    """The items, with a progress bar on stderr while they are used."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=label, file=sys.stderr, mininterval=0.5, leave=False)


@contextlib.contextmanager
def bar(train: TrainConfig) -> Iterator[keras.callbacks.Callback]:
    """A Keras callback that shows the losses and how far training is, in seconds or steps; it goes with the block."""
    import keras
    from tqdm import tqdm

    class Bar(keras.callbacks.Callback):
        progress_bar: Any = None  # tqdm's, once training begins

        def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
            if self.progress_bar is None:  # else training goes on, with new hints
                self.progress_bar = tqdm(
                    total=round(train.steps or train.seconds or 60 * ScheduleConfig().first_round),
                    desc="training",
                    file=sys.stderr,
                    mininterval=1.0,
                    bar_format="{desc} {percentage:3.0f}%|{bar:24}| {elapsed}{postfix}",
                )

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            done = self.model.optimizer.iterations if train.steps else self.model.seconds_trained
            count = done.numpy().item()
            while train.ends_by_itself and count > self.progress_bar.total:
                self.progress_bar.total *= 2  # another round
            self.progress_bar.n = min(self.progress_bar.total, count)
            if batch % 10 == 0:
                losses = {name.removesuffix("_loss"): f"{float(value):.3g}" for name, value in (logs or {}).items()}
                self.progress_bar.set_postfix(losses, refresh=False)
            self.progress_bar.update(0)

    callback = Bar()
    try:
        yield callback
    finally:
        if callback.progress_bar is not None:
            callback.progress_bar.close()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Drop what libraries write to stderr while TensorFlow starts and looks for a GPU.

    TF_CPP_MIN_LOG_LEVEL=0 shows it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") < "2" or "tensorflow" in sys.modules:
        yield
        return
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow

        tensorflow.config.list_physical_devices()
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
