"""Frame pairs for training: a `tf.data.Dataset` of dicts, drawn anew for each batch from a seed.

Why TensorFlow ops alone, no `numpy_function`: a prefetching dataset that calls Python can block its process at exit,
as a thread waits for the interpreter while the interpreter waits for it (measured here; tensorflow issue 22632).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from eqvid_tf.data.cache import joined
from eqvid_tf.data.clips import Clip
from eqvid_tf.pixels.canvas import canvas_from_clip
from eqvid_tf.pixels.coordinates import homogeneous

Tensors = dict[str, tf.Tensor]
NAMES = ("frame", "next_frame", "background_frame")
HINTED = {"hint": "frame", "next_hint": "next_frame"}
LEAST_HELD_OUT = 4  # frames of a clip that are held out at least; of a shorter one none are


def held_out(count: int, every: int) -> np.ndarray:
    """The frames of a clip of `count` that are kept out of training: one of `every`; none of a short clip, or for 0.

    Example:
        >>> held_out(40, 10).tolist(), held_out(39, 10).tolist(), held_out(40, 0).tolist()
        ([5, 15, 25, 35], [], [])
    """
    if not every or count < LEAST_HELD_OUT * every:
        return np.zeros(0, int)
    return np.arange(every // 2, count, every)


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
    shares: Sequence[float] | np.ndarray | None = None,
    places: Sequence[Sequence[int]] | None = None,
    replicas: int = 1,
    own: Sequence[int] = (0,),
    left_out: Sequence[np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Draw endless batches of two frames of one clip, `gap` steps apart, in either direction.

    Batch i depends on `seed` and i alone, so `start=i` goes on exactly where a run was stopped.

    Convention:
        `motion` is forward, from `frame` to `next_frame`, in the canvas's normalized coordinates.

    Shapes:
        frame, next_frame[, background_frame]: [batch, *canvas, 3] float32 in [0, 1];
        motion: [batch, 2, 3] float32; hint, next_hint: [batch, *canvas, 1] float32 in [0, 1]; with `places` one channel
        for each of the most characters that a clip has, in random order, and places: [batch, characters] int32.

    Args:
        clips: to draw from.
        canvas: (height, width) on which the frames are fitted.
        batch_size: pairs in a batch.
        gaps: steps between the frames of a pair; those that a clip is too short for are left out.
        seed: everything that is drawn follows from it.
        start: number of the first batch.
        known: adds `motion`, the product of the steps in the clips' motion.json.
        other: adds `background_frame`, another frame of the same clip.
        hints: float32 [count, *canvas] in [0, 1] for each clip; they are copied, in steps of 1/255. With `places`
            [count, *canvas, K].
        shares: of the pairs, for each clip, together 1; None: half of the pairs go to all clips evenly, half by
            length, so that each clip, short or long, gets enough of them.
        places: adds `places`, numbers of each clip's K characters, -1 where it has fewer than another.
        replicas: devices that share each batch: its rows are dealt to them as cards are.
        own: the devices whose rows to give. With several, each batch comes as one for each of them in turn.
        left_out: frames of each clip, by index, that no batch holds; see `held_out`.

    Raises:
        ValueError: for no clips, a batch size or gap below 1, a batch that cannot be dealt evenly, or hints of another
            type or shape.
    """
    _check(clips, batch_size, gaps, replicas)
    arrays = [clip.arrays(canvas) for clip in clips]
    _check_hints(hints, arrays, places)
    choices = _Choices.of(counts := [*map(len, arrays)], gaps, left_out)
    starts, share = np.cumsum([0, *counts[:-1]]), default_shares(counts) if shares is None else np.array(shares)
    steps, table = _steps(clips, canvas, places) if known else None, _same_length(places)
    frames = _on_cpu(joined(arrays, counts))
    coverages = _on_cpu(joined((_in_bytes(hint, table) for hint in hints), counts)) if hints else None

    @tf.autograph.experimental.do_not_convert  # no branch on a tensor; a conversion takes a second
    def batch(number: tf.Tensor) -> Tensors:
        index, deal = _deal(number, replicas, own)
        drawn = {name: deal(x) for name, x in _draw(index, choices, share, batch_size, seed).items()}
        places_of = {name: tf.gather(tf.constant(starts), drawn["clip"]) + drawn[name] for name in NAMES[: 2 + other]}
        made = {name: _read(frames, at) for name, at in places_of.items()}
        made |= {key: _read(coverages, places_of[name]) for key, name in HINTED.items() if hints}
        made |= {"motion": _motions(steps, drawn, max(gaps))} if steps else {}
        if table is not None:
            keys = tf.random.stateless_uniform([batch_size, table.shape[1]], [seed + 1, index], alg="philox")
            made |= _in_random_order(made, tf.gather(table, drawn["clip"]), deal(keys))
        return made if table is not None or not known else made | {"motion": made["motion"][:, 0]}

    return _without_rewrites(tf.data.Dataset.counter(start * len(own)).map(batch, num_parallel_calls=2).prefetch(4))


def _check(clips: Sequence[Clip], batch_size: int, gaps: Sequence[int], replicas: int) -> None:
    if not clips or batch_size < 1 or not gaps or min(gaps) < 1:
        raise ValueError(
            f"pairs needs clips, batch_size >= 1 and gaps >= 1; received {len(clips)} clips, "
            f"batch_size {batch_size}, gaps {tuple(gaps)}."
        )
    check_deal(batch_size, replicas)


def check_deal(batch_size: int, replicas: int) -> None:
    """Check that a batch can be dealt evenly to the devices that share it.

    Raises:
        ValueError: it cannot.
    """
    if batch_size % replicas:
        near = -(-batch_size // replicas) * replicas
        raise ValueError(
            f"batch_size must be a multiple of the {replicas} devices that share a batch; received {batch_size}. "
            f"Try {near}."
        )


def _check_hints(
    hints: Sequence[np.ndarray] | None, frames: Sequence[np.ndarray], places: Sequence[Sequence[int]] | None
) -> None:
    if hints is None:
        return
    many = [()] * len(frames) if places is None else [(len(row),) for row in places]
    shapes = [(*array.shape[:3], *count) for array, count in zip(frames, many)]
    if wrong := sorted({str(hint.dtype) for hint in hints} - {"float32"}):
        raise ValueError(
            f"hints must be float32 in [0, 1]; received {', '.join(wrong)}. Divide uint8 by 255 as float32."
        )
    if (received := [hint.shape for hint in hints]) != shapes:
        raise ValueError(f"hints must be {shapes}; received {received}. Give one for each clip.")


def default_shares(counts: list[int]) -> np.ndarray:
    """The share of the pairs for each clip: half of the pairs go to all clips evenly, half by length."""
    return 0.5 / len(counts) + 0.5 * np.array(counts) / sum(counts)


def _steps(
    clips: Sequence[Clip], canvas: tuple[int, int], places: Sequence[Sequence[int]] | None
) -> list[list[np.ndarray]]:
    """The steps [count - 1, 3, 3] of each character of each clip; a clip of one of several knows whose it gives."""
    several = [range(len(row)) if len(row) > 1 else [None] for row in places or [[0]] * len(clips)]
    return [[canvas_motion(clip, canvas, k) for k in row] for clip, row in zip(clips, several)]


def _same_length(places: Sequence[Sequence[int]] | None) -> np.ndarray | None:
    """The places of each clip, int32 [clips, K], -1 where it has fewer than another; None without places."""
    if places is None:
        return None
    most = max(map(len, places))
    return np.array([[*row, *[-1] * (most - len(row))] for row in places], np.int32)


def _read(kept: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Bytes at some places, float32 in [0, 1]."""
    return tf.cast(tf.gather(kept, at), tf.float32) / 255.0


def _in_bytes(hint: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """Hints as uint8 with a channel for each character: [T, h, w] as one, [T, h, w, K] with empty ones up to the most.

    Why bytes: those of a thousand clips lie in a file beside the frames, four times as large otherwise.
    """
    kept = (hint * np.float32(255)).round().astype(np.uint8)
    if table is None:
        return kept[..., None]
    return np.pad(kept, [(0, 0), (0, 0), (0, 0), (0, table.shape[1] - hint.shape[-1])])


def _in_random_order(made: Tensors, places: tf.Tensor, keys: tf.Tensor) -> Tensors:
    """The places [batch, K] of each pair in the order of random keys, -1 last, and the hints in the same order.

    Why: the first counts in some losses, and the last is in front in a recomposed pair.
    """
    order = tf.argsort(keys + tf.cast(places < 0, tf.float32), axis=1)
    hints: Tensors = {
        name: tf.gather(made[name], order, axis=3, batch_dims=1) for name in ("hint", "next_hint") if name in made
    }
    motion = {"motion": tf.gather(made["motion"], order, axis=1, batch_dims=1)} if "motion" in made else {}
    return {**hints, **motion, "places": tf.gather(places, order, axis=1, batch_dims=1)}


def _without_rewrites(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Without tf.data's graph rewrites, which copy every clip into a graph: 1.1 GB of memory for 1.1 GB on disk."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def _on_cpu(array: np.ndarray) -> tf.Tensor:
    """Turn an array into a tensor on the CPU; the memory map of a clip stays on disk, any other array is copied."""
    if isinstance(array, np.memmap) and array.ctypes.data % 64 == 0:  # bytes: the alignment that Eigen needs
        view = array.view()
        view.flags.writeable = True  # a private map (see `cache`), which DLPack asks to be able to write
        return tf.experimental.dlpack.from_dlpack(view.__dlpack__())
    with tf.device("CPU:0"):
        return tf.convert_to_tensor(array)


def _deal(number: tf.Tensor, replicas: int, own: Sequence[int]) -> tuple[tf.Tensor, Callable]:
    """The number of the batch that the next device, of those whose turn it is, gets, and what takes its rows."""
    index, device = number // len(own), tf.gather(tf.constant([*own], tf.int64), number % len(own))
    return index, lambda x: tf.reshape(x, (x.shape[0] // replicas, replicas, *x.shape[1:]))[:, device]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Choices:
    """What can be drawn of each clip; rows are filled up with zeros, which are not drawn.

    Attributes:
        gaps: [clips, G] steps between the frames of a pair; gap_counts [clips].
        early: [clips, G, n] the earlier frames of the pairs so far apart; early_counts [clips, G].
        others: [clips, n] the frames that are not left out, twice in a row; other_counts [clips].
        after: [clips, T] where in `others` the frames after each frame begin.
    """

    gaps: tf.Tensor
    gap_counts: tf.Tensor
    early: tf.Tensor
    early_counts: tf.Tensor
    others: tf.Tensor
    other_counts: tf.Tensor
    after: tf.Tensor

    @staticmethod
    def of(counts: Sequence[int], gaps: Sequence[int], left_out: Sequence[np.ndarray] | None) -> _Choices:
        """The choices of clips; of one that is too short for every gap, the first and the last frame are a pair."""
        all_starts, others, after = [], [], []
        for count, out in zip(counts, left_out or [np.zeros(0, int)] * len(counts)):
            there = ~np.isin(np.arange(count), out)
            starts = {gap: np.flatnonzero(there[:-gap] & there[gap:]) for gap in gaps if gap < count}
            starts = {gap: found for gap, found in starts.items() if len(found)}
            all_starts.append(starts or {count - 1: np.zeros(1, int)})
            others.append(np.tile(np.flatnonzero(there), 2))
            after.append(there.cumsum())
        most = max(map(len, all_starts)), max(counts)
        return _Choices(
            gaps=_filled([[*starts] for starts in all_starts]),
            gap_counts=_filled([len(starts) for starts in all_starts]),
            early=_filled([_rows(starts.values(), most) for starts in all_starts]),
            early_counts=_filled([[len(found) for found in starts.values()] for starts in all_starts]),
            others=_filled(others),
            other_counts=_filled([len(row) // 2 for row in others]),
            after=_filled(after),
        )


def _rows(rows: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Rows of several lengths as one array of a size, filled up with zeros."""
    table = np.zeros(size, np.int64)
    for line, row in zip(table, rows):
        line[: len(row)] = row
    return table


def _filled(rows: Sequence) -> tf.Tensor:
    """Numbers, rows of several lengths, or tables of one size as a tensor int64; rows are filled up with zeros."""
    if np.ndim(rows[0]) != 1:
        return tf.constant(np.array(rows), tf.int64)
    return tf.constant(_rows(rows, (len(rows), max(map(len, rows)))))


def _draw(index: tf.Tensor | int, choices: _Choices, shares: np.ndarray, batch_size: int, seed: int) -> Tensors:
    """The clips and frames of batch `index`: clip, frame, next_frame, background_frame, each [batch] int64."""
    random = tf.random.stateless_uniform([5, batch_size], [seed, index], dtype=tf.float64, alg="philox")
    clip = tf.searchsorted(np.cumsum(shares)[:-1], random[0], side="right", out_type=tf.int64)
    at = tf.stack([clip, _below(random[1], tf.gather(choices.gap_counts, clip))], axis=1)
    gap = tf.gather_nd(choices.gaps, at)
    start = _below(random[2], tf.gather_nd(choices.early_counts, at))
    early = tf.gather_nd(choices.early, tf.concat([at, start[:, None]], 1))
    backward = random[3] < 0.5
    first, second = tf.where(backward, early + gap, early), tf.where(backward, early, early + gap)
    place = tf.gather_nd(choices.after, tf.stack([clip, first], 1))
    place += _below(random[4], tf.gather(choices.other_counts, clip) - 1)
    other = tf.gather_nd(choices.others, tf.stack([clip, place], 1))
    return {"clip": clip, "frame": first, "next_frame": second, "background_frame": other}


def _below(random: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """Random numbers in [0, 1) as whole numbers from 0 to limit - 1."""
    return tf.cast(random * tf.cast(limit, tf.float64), tf.int64)


def _motions(steps: Sequence[Sequence[np.ndarray]], drawn: Mapping[str, tf.Tensor], longest: int) -> tf.Tensor:
    """The motion of each of the most characters that a clip has, the identity where it has fewer: [batch, K, 2, 3].

    Shapes: steps [count - 1, 3, 3] for each character of each clip.
    """
    still = lambda clip: np.tile(np.eye(3), (len(clip[0]), 1, 1))
    of = lambda k: [clip[k] if k < len(clip) else still(clip) for clip in steps]
    return tf.stack([_product_of_steps(of(k), drawn, longest) for k in range(max(map(len, steps)))], 1)


def _product_of_steps(steps: Sequence[np.ndarray], drawn: Mapping[str, tf.Tensor], longest: int) -> tf.Tensor:
    """The forward motions from `frame` to `next_frame`: the product of the steps, inverted if backward.

    Shapes: steps [count - 1, 3, 3] for each clip -> [batch, 2, 3] float32, computed in float64.
    """
    starts = np.cumsum([0] + [len(clip) for clip in steps])
    table = tf.constant(np.concatenate(steps))
    early = tf.minimum(drawn["frame"], drawn["next_frame"])
    gap = tf.abs(drawn["next_frame"] - drawn["frame"])
    motion = tf.eye(3, batch_shape=[gap.shape[0]], dtype=tf.float64)
    for k in range(longest):
        step = tf.gather(table, tf.minimum(tf.gather(starts, drawn["clip"]) + early + k, starts[-1] - 1))
        motion = tf.where((k < gap)[:, None, None], step @ motion, motion)
    backward = (drawn["next_frame"] < drawn["frame"])[:, None, None]
    return tf.cast(tf.where(backward, tf.linalg.inv(motion), motion)[:, :2], tf.float32)


def canvas_motion(clip: Clip, canvas: tuple[int, int], number: int | None = None) -> np.ndarray:
    """Read the motion.json of a clip, or of a character in it, as motions in the coordinates of a canvas.

    Shapes: [count - 1, 3, 3] float64.
    """
    canvas_from_frame = canvas_from_clip(clip.size, canvas)
    return (
        canvas_from_frame
        @ homogeneous(clip.motion() if number is None else clip.motion(number))
        @ np.linalg.inv(canvas_from_frame)
    )
