"""Frame pairs for training: a `tf.data.Dataset` of dicts, drawn afresh for each batch from a seed."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from eqvid_tf.data.fitting import canvas_from_clip
from eqvid_tf.data.frames import Clip


def pairs(
    clips: Sequence[Clip],
    canvas: tuple[int, int],
    *,
    batch_size: int,
    gaps: Sequence[int] = (1, 2, 4, 8),
    seed: int = 0,
    start: int = 0,
    known: bool = False,
    other: bool = True,
    hints: Sequence[np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Endless batches of two frames of one clip, `gap` steps apart, in either direction.

    Batch i depends on `seed` and i alone, so `start=i` goes on exactly where a run broke off. Half of the
    pairs are spread evenly over the clips, half by length: neither a short nor a long clip starves.

    Convention:
        `motion` is forward, from `frame` to `next_frame`, in the canvas's normalized coordinates.
    Shapes:
        frame, next_frame[, background_frame]: [batch, *canvas, 3] float32 in [0, 1];
        motion: [batch, 2, 3]; hint, next_hint: [batch, *canvas, 1] in [0, 1].
    Args:
        gaps: steps between the frames of a pair; those that a clip is too short for are left out.
        known: gives `motion`, composed over the gap from the clips' motion.json.
        other: gives `background_frame`, another frame of the same clip.
        hints: uint8 [count, *canvas] for each clip.
    Raises:
        ValueError: for no clips, a batch size or gap below 1, or hints that do not fit.
    """
    _check(clips, batch_size, gaps)
    frames = [clip.arrays(canvas) for clip in clips]
    steps = [canvas_motion(clip, canvas) for clip in clips] if known else None
    if hints is not None and (given := [h.shape for h in hints]) != (wanted := [f.shape[:3] for f in frames]):
        raise ValueError(f"hints must be {wanted}; received {given}. Give one for each clip.")
    names = ["frame", "next_frame"] + ["background_frame"] * other

    def batch(at: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        made = {name: unit(look_up(frames, at["clip"], at[name])) for name in names}
        if hints is not None:
            made["hint"] = unit(look_up(hints, at["clip"], at["frame"]))[..., None]
            made["next_hint"] = unit(look_up(hints, at["clip"], at["next_frame"]))[..., None]
        if steps is not None:
            made["motion"] = composed(steps, at["clip"], at["frame"], at["next_frame"])
        return made

    counts = [len(array) for array in frames]
    drawn = drawn_pairs(counts, batch_size=batch_size, gaps=gaps, seed=seed, start=start)
    return drawn.map(batch, num_parallel_calls=2).prefetch(4)


def _check(clips: Sequence[Clip], batch_size: int, gaps: Sequence[int]) -> None:
    if not clips or batch_size < 1 or not gaps or min(gaps) < 1:
        raise ValueError(
            f"pairs needs clips, batch_size >= 1 and gaps >= 1; received {len(clips)} clips, "
            f"batch_size {batch_size}, gaps {tuple(gaps)}."
        )


def drawn_pairs(
    counts: Sequence[int], *, batch_size: int, gaps: Sequence[int], seed: int = 0, start: int = 0
) -> tf.data.Dataset:
    """Endless batches of indices {"clip", "frame", "next_frame", "background_frame"}, each int64 [batch].

    Args:
        counts: frames in each clip.
    """
    names, counts = ("clip", "frame", "next_frame", "background_frame"), np.array(counts)

    def batch(index: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = tf.numpy_function(
            lambda i: draw(np.random.default_rng([seed, int(i)]), counts, batch_size, gaps), [index], [tf.int64] * 4
        )
        return {name: tf.ensure_shape(indices, (batch_size,)) for name, indices in zip(names, drawn)}

    return tf.data.Dataset.counter(start).map(batch)


def look_up(arrays: Sequence[np.ndarray], clip: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Frame `index` of each `clip`, read from the clips' arrays alone: uint8 [batch, *shape of a frame]."""
    found = tf.numpy_function(lambda c, i: np.stack([arrays[k][j] for k, j in zip(c, i)]), [clip, index], tf.uint8)
    return tf.ensure_shape(found, (clip.shape[0], *arrays[0].shape[1:]))


def composed(steps: Sequence[np.ndarray], clip: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """`compose` in a graph: the forward motions [batch, 2, 3]."""
    motion = tf.numpy_function(lambda *at: compose(steps, *at), [clip, first, second], tf.float32)
    return tf.ensure_shape(motion, (clip.shape[0], 2, 3))


def unit(array: tf.Tensor) -> tf.Tensor:
    """uint8 to float32 in [0, 1]."""
    return tf.cast(array, tf.float32) / 255.0


def clip_batches(array: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """A clip's frames in order, as batches {"frame": [<= batch_size, h, w, 3] float32 in [0, 1]}."""

    def slices() -> Iterator[np.ndarray]:
        for start in range(0, len(array), batch_size):
            yield np.asarray(array[start:start + batch_size])

    signature = tf.TensorSpec((None, *array.shape[1:]), tf.uint8)
    dataset = tf.data.Dataset.from_generator(slices, output_signature=signature)
    return dataset.map(lambda frames: {"frame": unit(frames)}).prefetch(2)


def draw(
    rng: np.random.Generator, counts: np.ndarray, batch_size: int, gaps: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each pair of a batch: its clip, and the indices of frame, next_frame and another frame.

    Shapes:
        Four integer arrays [batch_size].
    """
    weights = 0.5 / len(counts) + 0.5 * counts / counts.sum()
    clip = rng.choice(len(counts), batch_size, p=weights / weights.sum())
    fitting = [[gap for gap in gaps if gap < count] or [count - 1] for count in counts]
    gap = np.array([fitting[k][int(u * len(fitting[k]))] for k, u in zip(clip, rng.random(batch_size))])
    early = rng.integers(0, counts[clip] - gap)
    backward = rng.random(batch_size) < 0.5
    first, second = np.where(backward, early + gap, early), np.where(backward, early, early + gap)
    third = (first + rng.integers(1, counts[clip])) % counts[clip]
    return clip, first, second, third


def compose(steps: Sequence[np.ndarray], clip: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The forward motions from frame `first` to frame `second`: the product of the steps, inverted if backward.

    Shapes:
        steps: for each clip [count - 1, 3, 3]; the others [batch]; gives [batch, 2, 3] float32.
    """
    early, gap = np.minimum(first, second), np.abs(second - first)
    motion = np.tile(np.eye(3), (len(clip), 1, 1))
    for k in range(gap.max()):
        for b in np.flatnonzero(k < gap):
            motion[b] = steps[clip[b]][early[b] + k] @ motion[b]
    motion[second < first] = np.linalg.inv(motion[second < first])
    return motion[:, :2].astype(np.float32)


def canvas_motion(clip: Clip, canvas: tuple[int, int]) -> np.ndarray:
    """The clip's motion carried over to canvas coordinates, as [count - 1, 3, 3] float64."""
    motion = clip.motion()
    square = np.concatenate([motion, np.tile([[[0.0, 0, 1]]], (len(motion), 1, 1))], axis=1)
    to_canvas = canvas_from_clip(clip.size, canvas)
    return to_canvas @ square @ np.linalg.inv(to_canvas)
