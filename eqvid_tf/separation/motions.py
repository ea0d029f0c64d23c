"""The character's motions between frames of a clip, as the model estimates them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from eqvid_tf.parallel import made_ahead
from eqvid_tf.pixels.canvas import canvas_from_clip
from eqvid_tf.pixels.coordinates import PIXEL_CENTRE, chained, frame_from_pixels, homogeneous
from eqvid_tf.separation.background import novelty, usual_novelty
from eqvid_tf.separation.masks import BATCH, FEW, batches_of, unit_frames, without_graph
from eqvid_tf.tracking.parts import Part
from eqvid_tf.tracking.template import CharacterTemplate, smooth

if TYPE_CHECKING:
    import tensorflow as tf

    from eqvid_tf.core.model import EquivariantVideoModel


ENCODED_PIXELS = 1 << 19  # of the frames that are kept encoded at a time: about 20 MB
REFERENCES = 8  # frames from which each frame's motion is estimated, where it shall not drift
TOLD = 0.1  # of the usual weight of a frame: one with less is told by those around it
STEADY = 2.0  # frames: standard deviation over which references correct a chain of steps
LEAST_PIXELS = 30  # of a character that can be aligned
ENOUGH_PIXELS = 4000  # of it that are compared
OUTLINE_TOLERANCE = 10.0  # see `CharacterTemplate.fit`


class MotionEstimates(NamedTuple):
    """Motions [N, 2, 3] forward, and how far each can be trusted, [N] in [0, 1]."""

    motions: np.ndarray
    confidences: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceMotions:
    """The motion from one frame of a clip, the reference, to every frame.

    Attributes:
        index: of the reference frame.
        motions: [T, 2, 3] forward.
        weights: [T] in [0, 1], what each frame counts: how new it is, times the confidence of its motion.
    """

    index: int
    motions: np.ndarray
    weights: np.ndarray


def estimate_motions(
    model: EquivariantVideoModel,
    frames: np.ndarray,
    pairs: list[tuple[int, int]],
    batch: int = BATCH,
    name: int | None = None,
    once: bool = False,
) -> MotionEstimates:
    """Estimate the motions between pairs of frames on the canvas, of the character whose name has this number.

    Shapes: frames [T, h, w, 3] uint8; the motions are in canvas coordinates.

    Args:
        model: it estimates them.
        frames: of one clip.
        pairs: indices of frames.
        batch: pairs that are looked at together.
        name: see `eqvid_tf.separation.masks.network_coverage`.
        once: this is asked once of a clip; few pairs then need no graph.
    """
    encode, between = _graphs()
    canvas, of = frames.shape[1:3], () if name is None else (np.int32(name),)
    groups = list(_with_few_frames(pairs, max(2 * batch, ENCODED_PIXELS // (canvas[0] * canvas[1]))))
    found, whole = [], len(groups) == 1
    with without_graph(once and len(pairs) <= FEW):
        for group in groups:
            numbers, places = np.unique(group, return_inverse=True)
            each = (frames[numbers[part]] for part in batches_of(len(numbers), canvas, 2 * batch, whole))
            encoded = zip(*(encode(model, unit_frames(some), *of) for some in each))
            features, known = (np.concatenate([np.asarray(part) for part in parts]) for parts in encoded)
            estimates = []
            for part in batches_of(len(group), canvas, batch, whole):
                first, second = places.reshape(-1, 2)[part].T
                pair = unit_frames(frames[numbers[first]]), unit_frames(frames[numbers[second]])
                motion, certainty = between(model, *pair, features[first], features[second])
                estimates.append((np.asarray(motion), known[first] * known[second] * np.asarray(certainty)))
            found.append([np.concatenate(parts)[: len(group)].astype(np.float64) for parts in zip(*estimates)])
    return MotionEstimates(*(np.concatenate(parts) for parts in zip(*found)))


def _with_few_frames(pairs: list[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs of frames in their order, as many at a time as have at most so many frames between them."""
    some, seen = list[tuple[int, int]](), set[int]()
    for pair in pairs:
        if some and len(seen | set(pair)) > most:
            yield some
            some, seen = [], set()
        some.append(pair)
        seen |= set(pair)
    yield some


@functools.cache
def _graphs() -> tuple[Callable, Callable]:
    """What `EquivariantVideoModel.estimate_motion` does, in two graphs: of each frame once, and of each pair."""
    from eqvid_tf.core.model import graph

    @graph
    def encode(model: EquivariantVideoModel, frame: tf.Tensor, *of: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return model.encode(frame, *of), model.remembers(frame)

    @graph
    def between(model: EquivariantVideoModel, *pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return model.motion_between(dict(zip(("frame", "next_frame", "features", "next_features"), pair)))

    return encode, between


def anchored_path(
    estimate: Callable[[list[tuple[int, int]]], MotionEstimates], frames: Sequence[int], steps: np.ndarray
) -> np.ndarray:
    """The motion from the first of some frames to each of them, without drift: [N, 3, 3].

    Why: a chain of estimated steps drifts; after 200 frames a juggler who stands upright was sheared by as much as he
    is wide. What is estimated from a few frames, spread over all, does not drift, but jitters. So the steps tell how it
    goes on, and those frames, within a few pictures, where it is. A frame that they do not tell, as the character is
    hidden in it, takes no part.

    Shapes: steps [N - 1, 2, 3], between the frames in turn.

    Args:
        estimate: gives the motions between pairs of frames.
        frames: indices.
        steps: as estimated.
    """
    count, chain = len(frames), chained(steps)
    references = np.unique(np.linspace(0, count - 1, REFERENCES).round().astype(int))
    motions, confidences = estimate([(int(frames[r]), int(frames[t])) for t in range(count) for r in references])
    motions = homogeneous(motions).reshape(count, -1, 3, 3).swapaxes(0, 1)
    confidences = confidences.reshape(count, -1).T
    weights = (confidences * confidences[0, references][:, None]) ** 4 + 1e-9
    mean = np.einsum("rt,rtij->tij", weights / weights.sum(0), motions @ motions[0, references][:, None])
    told = weights.max(0)
    known = np.flatnonzero(told > TOLD * np.median(told))
    astray = (mean @ np.linalg.inv(chain))[known].reshape(len(known), 9)
    astray = np.stack([np.interp(np.arange(count), known, values) for values in astray.T], 1)
    reach = 2 * int(np.ceil(3 * STEADY)) + 1
    astray = cv2.GaussianBlur(astray, (1, reach), 1, sigmaY=STEADY, borderType=cv2.BORDER_REPLICATE)
    path = astray.reshape(-1, 3, 3) @ chain
    return path @ np.linalg.inv(path[0])


def refine_motions(
    seen: Iterable[tuple[np.ndarray, np.ndarray]], motions: np.ndarray, least_gain: float = 0.0
) -> np.ndarray:
    """Align the character of each frame with the next one, on frames finer than the canvas, from estimated motions on.

    Why: an estimate is as exact as the networks' canvas is fine, and limbs that move by themselves mislead it. The
    step before is another start.

    Shapes: motions [T - 1, 2, 3] forward -> the same.

    Args:
        seen: of each frame in turn its pixels, uint8 [H, W, 3], and the coverage of the character, [H, W] in [0, 1].
        motions: in the clip's coordinates.
        least_gain: share of an estimate's cost; one that aligns better by less stays.
    """
    frames, refined = made_ahead((frame, coverage, smooth(frame)) for frame, coverage in seen), list[np.ndarray]()
    frame, coverage, _ = next(frames)
    normalized = frame_from_pixels(frame.shape[:2]) @ PIXEL_CENTRE
    pixels = np.linalg.inv(normalized)
    for motion, (next_frame, next_coverage, blurred) in zip(motions, frames):
        starts = [motion, *refined[-1:]]
        if np.count_nonzero(coverage > 0.5) >= LEAST_PIXELS:
            part = Part.of(coverage > 0.5)
            template = CharacterTemplate(frame, part, every=int(np.ceil((part.area / ENOUGH_PIXELS) ** 0.5)))
            own = template.placed(np.zeros(2))
            options: dict[str, Any] = {
                "frame": blurred,
                "moving": next_coverage,
                "outline_tolerance": OUTLINE_TOLERANCE,
            }
            places = [pixels @ homogeneous(start) @ normalized @ own for start in starts]
            best = min((template.fit(start=place, **options) for place in places), key=lambda found: found.cost)
            if best.cost < (1 - least_gain) * template.at(matrix=places[0], **options).cost:
                motion = (normalized @ best.frame_from_template @ np.linalg.inv(own) @ pixels)[:2]
        refined.append(motion)
        frame, coverage = next_frame, next_coverage
    return np.array(refined)


def frame_weights(frames: np.ndarray) -> np.ndarray:
    """What each frame adds to the others, [T] in [0, 1]: its novelty, at most the usual one.

    Why: a rest that thirty frames show is one view of the character, not thirty.
    """
    weights = novelty(frames)
    return np.minimum(weights / usual_novelty(weights), 1)


def reference_frame(coverage: np.ndarray, weights: np.ndarray) -> int:
    """The index of the frame that shows the character best: large, wholly inside, and in motion.

    Shapes: coverage [T, h, w] in [0, 1], weights [T], see `frame_weights`.
    """
    solid = coverage > 0.5
    area = solid.mean((1, 2))
    edges = (solid[:, 0], solid[:, -1], solid[:, :, 0], solid[:, :, -1])
    at_border = sum(edge.mean(-1) for edge in edges)
    return int(np.argmax(weights * (area - area.max() * np.minimum(5 * at_border, 1))))


def motion_from_canvas(motion: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Motions [..., 2, 3] in canvas coordinates as motions in the coordinates of a clip of `size`."""
    to_canvas = canvas_from_clip(size, canvas)
    return (np.linalg.inv(to_canvas) @ homogeneous(motion) @ to_canvas)[..., :2, :]


def motion_to_canvas(motion: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Motions [..., 2, 3] of a clip of `size` in canvas coordinates: the inverse of `motion_from_canvas`."""
    to_canvas = canvas_from_clip(size, canvas)
    return (to_canvas @ homogeneous(motion) @ np.linalg.inv(to_canvas))[..., :2, :]
