"""Frame pairs for training: a `tf.data.Dataset` of dicts, drawn afresh for each batch from a seed.

TensorFlow ops alone, no `numpy_function`: a prefetching dataset that calls Python can hang its process at
exit, waiting for a thread that waits for the interpreter (measured here; tensorflow issue 22632).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.canvas import canvas_from_clip
from eqvid_tf.pixels.coordinates import homogeneous


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
    shares: Sequence[float] | None = None,
) -> tf.data.Dataset:
    """Endless batches of two frames of one clip, `gap` steps apart, in either direction.

    Batch i depends on `seed` and i alone, so `start=i` goes on exactly where a run broke off.

    Convention:
        `motion` is forward, from `frame` to `next_frame`, in the canvas's normalized coordinates.
    Shapes:
        frame, next_frame[, background_frame]: [batch, *canvas, 3] float32 in [0, 1];
        motion: [batch, 2, 3]; hint, next_hint: [batch, *canvas, 1] in [0, 1].

    Args:
        gaps: steps between the frames of a pair; those that a clip is too short for are left out.
        known: gives `motion`, composed over the gap from the clips' motion.json.
        other: gives `background_frame`, another frame of the same clip.
        hints: uint8 [count, *canvas] for each clip; they are copied.
        shares: of the pairs, for each clip, together 1; None: half of the pairs are spread evenly over the
            clips, half by length, so that neither a short nor a long clip starves.

    Raises:
        ValueError: for no clips, a batch size or gap below 1, or hints that do not fit.
    """
    _check(clips, batch_size, gaps)
    frames = [clip.arrays(canvas) for clip in clips]
    if hints is not None and (given := [h.shape for h in hints]) != (wanted := [f.shape[:3] for f in frames]):
        raise ValueError(f"hints must be {wanted}; received {given}. Give one for each clip.")
    counts = [len(array) for array in frames]
    shares = 0.5 / len(counts) + 0.5 * np.array(counts) / sum(counts) if shares is None else np.array(shares)
    steps = [canvas_motion(clip, canvas) for clip in clips] if known else None
    frames, hints = [mapped(array) for array in frames], [mapped(array[..., None]) for array in hints or ()]
    names = ["frame", "next_frame"] + ["background_frame"] * other

    def batch(index: tf.Tensor) -> dict[str, tf.Tensor]:
        at = draw(index, counts, shares, batch_size, gaps, seed)
        made = look_up(frames, at, names)
        if hints:
            hint = look_up(hints, at, ["frame", "next_frame"])
            made |= {"hint": hint["frame"], "next_hint": hint["next_frame"]}
        if steps is not None:
            made["motion"] = compose(steps, at, max(gaps))
        return made

    return as_written(tf.data.Dataset.counter(start).map(batch, num_parallel_calls=2).prefetch(4))


def clip_batches(array: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """A clip's frames in order, as batches {"frame": [<= batch_size, h, w, 3] float32 in [0, 1]}."""
    frames = mapped(array)
    starts = tf.data.Dataset.range(0, len(array), batch_size)
    batches = starts.map(lambda start: {"frame": unit(frames[start : start + batch_size])})
    return as_written(batches.prefetch(2))


def as_written(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Without tf.data's graph rewrites, which would write every clip into a graph once: 1.1 GB for 1.1 GB on disk."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def unit(array: tf.Tensor) -> tf.Tensor:
    """uint8 to float32 in [0, 1]."""
    return tf.cast(array, tf.float32) / 255.0


def mapped(array: np.ndarray) -> tf.Tensor:
    """An array on the CPU as a tensor; a clip's memmap stays on disk, any other is copied."""
    if isinstance(array, np.memmap) and array.ctypes.data % 64 == 0:  # as Eigen wants its memory
        view = array.view()
        view.flags.writeable = True  # a private map (see `cache`), which DLPack asks to be able to write
        return tf.experimental.dlpack.from_dlpack(view.__dlpack__())
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def draw(
    index: tf.Tensor | int, counts: Sequence[int], shares: np.ndarray, batch_size: int, gaps: Sequence[int], seed: int
) -> dict[str, tf.Tensor]:
    """Batch `index` as numbers: {"clip", "frame", "next_frame", "background_frame"}, each int64 [batch].

    Args:
        counts, shares: frames in each clip, and its share of the pairs.
    """
    fitting = [[gap for gap in gaps if gap < count] or [count - 1] for count in counts]
    table = tf.ragged.constant(fitting, tf.int64, ragged_rank=1).to_tensor()
    random = tf.random.stateless_uniform([5, batch_size], [seed, index], dtype=tf.float64, alg="philox")

    def below(number: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
        return tf.cast(number * tf.cast(limit, tf.float64), tf.int64)

    clip = tf.searchsorted(np.cumsum(shares)[:-1], random[0], side="right", out_type=tf.int64)
    count = tf.gather(tf.constant(counts, tf.int64), clip)
    choice = below(random[1], tf.gather([len(row) for row in fitting], clip))
    gap = tf.gather_nd(table, tf.stack([clip, choice], axis=1))
    early = below(random[2], count - gap)
    backward = random[3] < 0.5
    first, second = tf.where(backward, early + gap, early), tf.where(backward, early, early + gap)
    other = (first + 1 + below(random[4], count - 1)) % count
    return {"clip": clip, "frame": first, "next_frame": second, "background_frame": other}


def look_up(arrays: Sequence[tf.Tensor], at: dict[str, tf.Tensor], names: Sequence[str]) -> dict[str, tf.Tensor]:
    """The drawn frames `names` out of each clip's array [count, h, w, channels]: float32 in [0, 1]."""
    clip, index = tf.tile(at["clip"], [len(names)]), tf.concat([at[name] for name in names], axis=0)
    places = [tf.where(clip == k)[:, 0] for k in range(len(arrays))]
    found = [tf.gather(array, tf.gather(index, place)) for array, place in zip(arrays, places)]
    frames = tf.dynamic_stitch([tf.cast(place, tf.int32) for place in places], found)
    frames = tf.ensure_shape(frames, (clip.shape[0], *arrays[0].shape[1:]))
    return dict(zip(names, tf.split(unit(frames), len(names))))


def compose(steps: Sequence[np.ndarray], at: dict[str, tf.Tensor], longest: int) -> tf.Tensor:
    """The forward motions from `frame` to `next_frame`: the product of the steps, inverted if backward.

    Shapes:
        steps: for each clip [count - 1, 3, 3]; gives [batch, 2, 3] float32, composed in float64.

    Args:
        longest: no gap is longer.
    """
    starts = np.cumsum([0] + [len(clip) for clip in steps])
    table = tf.constant(np.concatenate(steps))
    early = tf.minimum(at["frame"], at["next_frame"])
    gap = tf.abs(at["next_frame"] - at["frame"])
    motion = tf.eye(3, batch_shape=[gap.shape[0]], dtype=tf.float64)
    for k in range(longest):
        step = tf.gather(table, tf.minimum(tf.gather(starts, at["clip"]) + early + k, starts[-1] - 1))
        motion = tf.where((k < gap)[:, None, None], step @ motion, motion)
    backward = (at["next_frame"] < at["frame"])[:, None, None]
    return tf.cast(tf.where(backward, tf.linalg.inv(motion), motion)[:, :2], tf.float32)


def canvas_motion(clip: Clip, canvas: tuple[int, int]) -> np.ndarray:
    """The clip's motion carried over to canvas coordinates, as [count - 1, 3, 3] float64."""
    to_canvas = canvas_from_clip(clip.size, canvas)
    return to_canvas @ homogeneous(clip.motion()) @ np.linalg.inv(to_canvas)


def _check(clips: Sequence[Clip], batch_size: int, gaps: Sequence[int]) -> None:
    if not clips or batch_size < 1 or not gaps or min(gaps) < 1:
        raise ValueError(
            f"pairs needs clips, batch_size >= 1 and gaps >= 1; received {len(clips)} clips, "
            f"batch_size {batch_size}, gaps {tuple(gaps)}."
        )
