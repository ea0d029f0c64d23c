"""Where the character is, coarsely: by the networks, or by what differs from the background."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.resampling import move
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.cutout import edge_coverage

if TYPE_CHECKING:  # characters are told apart without it: eqvid inspect needs no TensorFlow
    import tensorflow as tf

    from eqvid_tf.core.model import EquivariantVideoModel

BATCH = 16  # frames, or pairs of them, that the networks look at together
FEW = 64  # of them that are looked at without a graph ...
FEW_PIXELS = FEW * 96 * 96  # ... and together, where they have so many pixels at most: bounds the memory
CLEARLY_SEEN = 0.125  # coverage: a place that is below it in some frame is clearly seen there
COINCIDENCE = 0.25  # share of the frames: what fewer show at its place of the character is not the character's
MOVES_ALONG = 0.75  # share of the masks that has to move with the character; with less the motions are wrong


def network_coverage(
    model: EquivariantVideoModel,
    frames: np.ndarray,
    batch: int = BATCH,
    progress: Callable = no_progress,
    name: int | None = None,
) -> np.ndarray:
    """The networks' coverage of the character in frames on the canvas; of all, or of that whose name has a number.

    Shapes: frames [T, h, w, 3] uint8 -> [T, h, w] float32 in [0, 1].
    """
    of = () if name is None else (np.int32(name),)
    with without_graph(len(frames) <= FEW):
        batches = progress(list(batches_of(len(frames), frames.shape[1:3], batch)), "finding the character")
        parts = [np.asarray(model.coverage(unit_frames(frames[part]), *of)) for part in batches]
    return np.concatenate(parts)[: len(frames), ..., 0]


def batches_of(count: int, canvas: tuple[int, ...], batch: int = BATCH, whole: bool = True) -> Iterator[np.ndarray]:
    """Indices of `count` items in batches of one size: the last item again and again where the last batch is short.

    Why: TensorFlow makes a graph anew where the size of a batch is another, which takes seconds. Few small ones are one
    batch, where they are the whole of what is looked at.
    """
    size = count if whole and count <= FEW and count * canvas[0] * canvas[1] <= FEW_PIXELS else batch
    for start in range(0, count, size):
        yield np.minimum(np.arange(start, start + size), count - 1)


@contextlib.contextmanager
def without_graph(eager: bool = True) -> Iterator[None]:
    """Call the model's functions step by step: to make a graph of one takes longer than to call it on few frames."""
    import tensorflow as tf

    former = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(eager or former)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(former)


def network_background(model: EquivariantVideoModel, frames: np.ndarray) -> np.ndarray:
    """The background as the networks draw it, the median over up to 32 of the frames.

    Shapes: frames [T, h, w, 3] uint8 -> [h, w, 3] float32 in [0, 255].
    """
    _, backgrounds, _ = model.separate(unit_frames(frames[:: max(1, len(frames) // 16)]))
    return np.median(np.asarray(backgrounds), axis=0).astype(np.float32) * 255


def network_pictures(model: EquivariantVideoModel, frames: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """Frames on the canvas as the networks draw them, g(f(x) + h(x)), uint8 [T, h, w, 3]."""
    drawn, still = [], np.eye(2, 3, dtype=np.float32)
    with without_graph(len(frames) <= FEW):
        for part in batches_of(len(frames), frames.shape[1:3], batch):
            x = unit_frames(frames[part])
            drawn.append(np.asarray(model.render(x, x, np.tile(still, (len(part), 1, 1)))))
    return (255 * np.concatenate(drawn)[: len(frames)]).round().astype(np.uint8)


def background_is_stored(model: EquivariantVideoModel, frames: np.ndarray) -> bool:
    """Whether the model knows the background of these frames [T, h, w, 3]; on any other its masks mean nothing."""
    return float(np.median(np.asarray(model.remembers(unit_frames(frames))))) > 0.5


def difference_coverage(
    frames: np.ndarray, background: np.ndarray, noise: float | np.ndarray = 0.0, batch: int = 64
) -> np.ndarray:
    """The coverage of what differs from the background by more than the noise, cut out along its edges.

    Shapes: frames [T, H, W, 3] uint8, background [H, W, 3] in [0, 255] -> [T, H, W] float32 in [0, 1].

    Args:
        frames: of one clip.
        background: of the clip.
        noise: see `eqvid_tf.separation.background.background_noise`.
        batch: frames that are worked on at a time.
    """
    out = np.empty(frames.shape[:3], np.float32)
    for start in range(0, len(frames), batch):
        part = np.asarray(frames[start : start + batch])
        out[start : start + batch] = edge_coverage(part, background, None, noise=noise)
    return out


def without_static_parts(coverage: np.ndarray, motions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Masks without what does not move with the character, at places that no frame shows clearly.

    Why: such a place was never seen, or what it holds is no character but an error of the background, which no median
    over what the masks leave would ever correct. An error stays where it is while the character moves on.

    Shapes: coverage [T, h, w] in [0, 1], motions [T, 2, 3] forward from one of the frames, weights [T] -> [T, h, w].
        Unchanged where most of the masks does not move along, for then the motions are wrong.
    """
    hidden, solid = coverage.min(0) > CLEARLY_SEEN, coverage > 0.5
    if not hidden.any() or not solid.any() or not weights.any():
        return coverage
    to_reference = np.linalg.inv(homogeneous(motions))
    moved = np.stack(
        [move(np.stack([mask, np.ones(mask.shape)], -1), motion) for mask, motion in zip(solid, to_reference)]
    )
    share, support = np.split(np.tensordot(weights / weights.sum(), moved, 1), 2, -1)
    share = np.clip(share / np.maximum(support, 0.5), 0, 1)  # of the frames that show the place
    along = np.stack([move(share, motion)[..., 0] for motion in motions]) > COINCIDENCE
    return np.where(hidden & ~along, 0, coverage) if along[solid].mean() > MOVES_ALONG else coverage


def unit_frames(frames: np.ndarray) -> tf.Tensor:
    """Frames uint8 as the networks take them: float32 in [0, 1]."""
    import tensorflow as tf

    return tf.constant(frames, tf.float32) / 255
