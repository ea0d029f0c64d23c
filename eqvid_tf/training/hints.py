"""A clip's background and hints: first from its frames alone, later refreshed from the networks' masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from eqvid_tf.camera.staying import Occupied
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.separation.background import background_noise, evenly_spaced, median_background
from eqvid_tf.separation.levelling import level_switched
from eqvid_tf.separation.masks import CLEARLY_SEEN, difference_coverage, network_coverage, without_static_parts
from eqvid_tf.separation.motions import ReferenceMotions, estimate_motions, frame_weights, reference_frame
from eqvid_tf.separation.rest import first_background
from eqvid_tf.separation.shadow import without_shadows
from eqvid_tf.separation.translucency import Observation, fit_translucency, refine_coverage


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hints:
    """A guess at the layers of a clip, from its own frames.

    Attributes:
        background: [h, w, 3] float32 in [0, 255].
        coverage: of the character in each frame, [T, h, w] float32 in [0, 1]: what differs from the background.
    """

    background: np.ndarray
    coverage: np.ndarray


def first_hints(frames: np.ndarray, least_noise: float = 0.0, occupied: Occupied | None = None) -> Hints:
    """The hints before any training, of frames [T, h, w, 3] uint8; for noise and occupied see `StabilizedClip`."""
    frames = level_switched(frames)
    background = first_background(frames)
    if occupied:
        background = occupied.in_place_of(background)
    noise = background_noise(frames, background, least=least_noise)
    return _with_shown(Hints(background=background, coverage=_character(frames, background, noise)), occupied)


def _with_shown(hints: Hints, occupied: Occupied | None) -> Hints:
    """Hints that hold what frames show of the character for sure."""
    if not occupied:
        return hints
    return dataclasses.replace(hints, coverage=np.maximum(hints.coverage, occupied.shows.astype(np.float32)))


def refresh_hints(
    model: EquivariantVideoModel,
    frames: np.ndarray,
    former: np.ndarray,
    hidden: np.ndarray | None = None,
    least_noise: float = 0.0,
    occupied: Occupied | None = None,
) -> Hints:
    """The hints from the networks' masks as they are now: the median is over the frames that do not hide a place.

    A place that every frame hides, by what moves with the character, keeps its former background. Why: a mask that is
    a little too large would replace it by pixels of the character otherwise.

    Shapes: frames [T, h, w, 3] uint8, former background [h, w, 3] in [0, 255], hidden [T, h, w] bool, where frames do
        not show what is there; for noise and occupied see `StabilizedClip`.
    """
    frames = level_switched(frames)
    chosen = evenly_spaced(len(frames))
    few = frames[chosen]
    coverage = network_coverage(model, few)
    if not model.T.learned:
        background = visible_background(few, coverage, former, occupied)
        noise = background_noise(few, background, coverage, least_noise)
        return _with_shown(Hints(background=background, coverage=_character(frames, background, noise)), occupied)
    weights = frame_weights(few)
    index = reference_frame(coverage, weights)
    motions, confidences = estimate_motions(model, frames, [(int(chosen[index]), k) for k in range(len(frames))])
    known = ReferenceMotions(index=index, motions=motions[chosen], weights=weights * confidences[chosen])
    coverage = without_static_parts(coverage, known.motions, known.weights)
    background = visible_background(few, coverage, former, occupied)
    noise = background_noise(few, background, coverage, least_noise)
    alpha = difference_coverage(few[index][None], background, noise)[0]
    observations = lambda: _observations(few, known, None if hidden is None else hidden[chosen])
    fit = fit_translucency(observations, background, coverage.min(0) < CLEARLY_SEEN, alpha)
    hints = _character(frames, fit.background, noise)
    if fit.translucency:
        refined = zip(hints, frames, motions)
        hints = np.stack([refine_coverage(fit.translucency, hint, x, fit.background, T) for hint, x, T in refined])
    return _with_shown(Hints(background=fit.background, coverage=hints), occupied)


def _character(frames: np.ndarray, background: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """What differs from the background, without the character's shadow: [T, h, w] in [0, 1]."""
    return without_shadows(frames, background, difference_coverage(frames, background, noise), noise)


def visible_background(
    frames: np.ndarray, coverage: np.ndarray, former: np.ndarray, occupied: Occupied | None = None
) -> np.ndarray:
    """The median where some frame shows the background, elsewhere the former one."""
    visible = coverage.min(0) < 0.5
    if occupied:
        visible &= ~occupied.always
    return np.where(visible[..., None], median_background(frames, coverage), former)


def _observations(frames: np.ndarray, known: ReferenceMotions, hidden: np.ndarray | None) -> Iterator[Observation]:
    for k, (frame, motion, weight) in enumerate(zip(frames, known.motions, known.weights)):
        yield Observation(frame=frame, motion=motion, weight=weight, hidden=None if hidden is None else hidden[k])
