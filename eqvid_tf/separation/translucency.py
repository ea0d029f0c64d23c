"""How translucent a character is, from the backgrounds that it passes: what several frames know together.

One frame cannot distinguish glass from an opaque grey. But a character's pixel, followed along its motion, is the same
in every frame, while the background behind it changes: C = a + t B is a straight line over the frames. Its slope t is
the transmittance, how much of the background shows through, and 1 - t is the coverage.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.colours import largest_difference
from eqvid_tf.pixels.coordinates import bounding_box, box_from_frame, box_slices, homogeneous, source_from_target_pixels
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import move, read_quickly

FRAME_NOISE = 2.0  # grey levels of residual that every frame is given
NEIGHBOURS = 3  # pixels in each direction: the neighbours that a pixel's slope is averaged with
SIMILAR = 6.0  # grey levels of difference at which a neighbour hardly counts
VARIATION = 0.03  # by which the slope of a pixel may differ from its neighbours'
UNSURE = 0.3  # standard error of a slope from which its transmittance hardly counts
RESIDUAL = 35.0  # grey levels of residual from which it hardly counts
MOSTLY_CLEAR = 0.75  # mean transmittance of a whole character from which the motions must be wrong
MARGIN = 4  # pixels around the character that are looked at too
SMALL = 100 * 100  # pixels of a picture of a character up to which it is moved by Pillow
BESIDE = 2  # pixels around a frame's coverage in which it is replaced
SEE_THROUGH = 0.4  # transmittance from which the background can be measured through the character
ENOUGH_VIEWS = 0.3  # frames, by weight and squared transmittance, that such a measurement takes


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    """A frame in which the character is observed.

    Attributes:
        frame: uint8 [H, W, 3], in the exposure of the background.
        motion: [2, 3] forward, from the reference frame to this one.
        weight: what it counts, in [0, 1].
        hidden: where it does not show what is there, bool [H, W]; None: nowhere.
    """

    frame: np.ndarray
    motion: np.ndarray
    weight: float
    hidden: np.ndarray | None = None

    def visible(self, known: np.ndarray) -> np.ndarray:
        """The places [H, W] of `known` that it shows."""
        return known if self.hidden is None else known & ~dilate(self.hidden, 1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """The character on a grid of pixels, premultiplied.

    Attributes:
        colour: [h, w, 3] in [0, 255].
        transmittance: [h, w] in [0, 1], how much of the background shows through.
        trust: [h, w] in [0, 1].
    """

    colour: np.ndarray
    transmittance: np.ndarray
    trust: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Translucency:
    """The character of a clip as all its frames show it together.

    Attributes:
        appearance: within a box of the reference frame.
        frame_from_box: [3, 3], from the box's normalized coordinates to the frame's.
    """

    appearance: Appearance
    frame_from_box: np.ndarray

    def in_box(self, motion: np.ndarray, size: tuple[int, int], box: tuple[int, int, int, int]) -> Appearance:
        """The appearance in a box (top, left, height, width) of a frame of `size`; outside its own box no trust.

        Args:
            motion: from the reference to the frame.
            size: of the frame.
            box: in that frame.
        """
        box_from_own = box_from_frame(size, *box) @ homogeneous(motion) @ self.frame_from_box
        colour, other = (_moved(planes, box_from_own, box[2:]) for planes in self._planes)
        transmittance, trust = (np.ascontiguousarray(plane) for plane in np.moveaxis(np.clip(other, 0, 1), -1, 0))
        return Appearance(colour=colour, transmittance=transmittance, trust=trust)

    @functools.cached_property
    def _planes(self) -> tuple[np.ndarray, np.ndarray]:
        """Colour [h, w, 3], and transmittance and trust [h, w, 2]: float32."""
        inside = self.appearance
        return inside.colour.astype(np.float32), np.dstack([inside.transmittance, inside.trust]).astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TranslucencyFit:
    """What a clip's frames say of the character's translucency, and of the background behind it.

    Attributes:
        translucency: None where the character is nowhere in the reference frame, or the motions are wrong.
        background: [H, W, 3] in [0, 255], also as it was measured through the character.
    """

    translucency: Translucency | None
    background: np.ndarray


def fit_translucency(
    observations: Callable[[], Iterable[Observation]], background: np.ndarray, seen: np.ndarray, alpha: np.ndarray
) -> TranslucencyFit:
    """Fit the character's translucency, and where the background was never seen, measure it through the character.

    Shapes: background [H, W, 3] in [0, 255], seen [H, W] bool, alpha [H, W] in [0, 1].

    Args:
        observations: makes the observations anew at every call, as many frames do not fit into memory.
        background: of the clip.
        seen: where some frame shows the background.
        alpha: of the character in the reference frame.
    """
    first = _fit_lines(observations(), background, seen, alpha)
    if first is None or seen.all():
        return TranslucencyFit(translucency=first, background=background)
    measured = _background_through(first, observations(), ~seen)
    known = ~np.isnan(measured[..., 0])
    background = np.where(known[..., None], measured, background).astype(np.float32)
    again = _fit_lines(observations(), background, seen | known, alpha) if known.any() else None
    return TranslucencyFit(translucency=again or first, background=background)


def refine_coverage(
    translucency: Translucency, alpha: np.ndarray, frame: np.ndarray, background: np.ndarray, motion: np.ndarray
) -> np.ndarray:
    """Replace a frame's coverage by one minus the transmittance, as far as that is trusted and fits this frame.

    Shapes: alpha [H, W] in [0, 1], frame and background [H, W, 3] in [0, 255], motion [2, 3] forward from the reference
        frame -> [H, W] float32.
    """
    refined, solid = alpha.astype(np.float32), alpha > 0.5
    box = bounding_box(solid, BESIDE)
    if box is None:
        return refined
    part = box_slices(box)
    appearance = translucency.in_box(motion, alpha.shape, box)
    through = cv2.merge([appearance.transmittance] * 3)  # numpy is slow over three values at a time
    expected = appearance.colour + through * background[part]
    residual = largest_difference(expected, frame[part])
    trust = appearance.trust * np.exp(-((residual / RESIDUAL) ** 2)) * dilate(solid[part], BESIDE)
    refined[part] = alpha[part] + trust * (1 - appearance.transmittance - alpha[part])
    return refined


def _background_through(
    translucency: Translucency, observations: Iterable[Observation], hidden: np.ndarray
) -> np.ndarray:
    """The background at places [H, W] that only translucent parts show: [H, W, 3], nan where none lets enough through.

    Why: C = a + t B, and a and t are known from where the character passed before what was seen.
    """
    measured = np.full((*hidden.shape, 3), np.nan)
    box = bounding_box(hidden)
    if box is None:
        return measured
    part = box_slices(box)

    def seen_through(observation: Observation) -> tuple[np.ndarray, np.ndarray]:
        appearance = translucency.in_box(observation.motion, hidden.shape, box)
        transmittance = appearance.transmittance
        clear = np.where(transmittance > SEE_THROUGH, transmittance, 0)[..., None]
        weight = observation.weight * (appearance.trust * observation.visible(hidden)[part])[..., None]
        return weight * clear**2, weight * clear * (observation.frame[part] - appearance.colour)

    total, weighted = np.zeros((*box[2:], 1)), np.zeros((*box[2:], 3))
    for squares, products in in_threads(seen_through, observations):
        total += squares
        weighted += products
    enough = hidden[part] & (total[..., 0] > ENOUGH_VIEWS)
    measured[part] = np.where(enough[..., None], np.clip(weighted / (total + 1e-6), 0, 255), np.nan)
    return measured


def _fit_lines(
    observations: Iterable[Observation], background: np.ndarray, seen: np.ndarray, alpha: np.ndarray
) -> Translucency | None:
    """The translucency from sums over the frames, carried back to the reference; see `fit_translucency`."""
    size = alpha.shape
    bounds = bounding_box(alpha > 0.5, MARGIN)
    if bounds is None:
        return None
    top, left, height, width = bounds
    box = (height, width)
    frame_from_box = np.linalg.inv(box_from_frame(size, *bounds))
    known = ~dilate(~seen, 2)
    background = np.asarray(background, np.float32)

    def carried_back(observation: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        to_box = np.linalg.inv(homogeneous(observation.motion) @ frame_from_box)
        b, c = (_moved(picture, to_box, box) for picture in (background, observation.frame))
        shown = _moved(observation.visible(known)[..., None], to_box, box) > 0.99
        return observation.weight * shown, b, c  # outside the frame nothing was seen either

    total, squares, products = np.zeros((*box, 1)), np.zeros((*box, 1)), np.zeros((5, *box, 3))
    counting = (observation for observation in observations if observation.weight > 0)
    for w, b, c in in_threads(carried_back, counting):
        total += w
        squares += w * w
        wc, wb = w * c, w * b
        for sums, values in zip(products, (wc, wb, wc * b, wb * b, wc * c)):
            sums += values
    appearance = _appearance_from_sums(total, squares, products)
    core = alpha[top : top + height, left : left + width] > 0.5
    opaque = appearance.transmittance[core].mean() < MOSTLY_CLEAR
    return Translucency(appearance=appearance, frame_from_box=frame_from_box) if opaque else None


def _moved(picture: np.ndarray, motion: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture [H, W, c] moved into one of a size, float32: by Pillow, whose cubic is the more exact one.

    Of a large one by OpenCV, in a tenth of the time.
    """
    if size[0] * size[1] <= SMALL:
        return move(picture, motion, size)
    source = source_from_target_pixels(motion, picture.shape[:2], size)
    return read_quickly(picture.astype(np.float32, copy=False), source, size, cubic=True)


def _appearance_from_sums(total: np.ndarray, squares: np.ndarray, products: np.ndarray) -> Appearance:
    """The line through every pixel's colours: one slope for the three channels, averaged with similar neighbours'.

    Shapes: sums of the weights and of their squares [h, w, 1]; products [5, h, w, 3] in the order of the next line.
    """
    c, b, cb, bb, cc = products / (total + 1e-6)
    moments = np.stack([cb - c * b, bb - b * b, cc - c * c]).sum(-1)
    count = (total[..., 0] + 1e-6) ** 2 / (squares[..., 0] + 1e-9)  # frames that the weights amount to
    own_slope, own_error = _fit_slope(moments, count)
    pooled_slope, pooled_error = _fit_slope(*_pool_neighbours(moments, count, c))
    own, pooled = 1 / own_error**2, 1 / (pooled_error**2 + VARIATION**2)
    transmittance = np.clip((own_slope * own + pooled_slope * pooled) / (own + pooled), 0, 1)
    residual = np.maximum(moments[2] - 2 * transmittance * moments[0] + transmittance**2 * moments[1], 0) / 3
    trust = np.exp(-residual / RESIDUAL**2 - 1 / (own + pooled) / UNSURE**2)
    return Appearance(colour=c - transmittance[..., None] * b, transmittance=transmittance, trust=trust)


def _pool_neighbours(moments: np.ndarray, count: np.ndarray, colour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean moments [k, h, w] and total count [h, w] of each pixel's neighbours, weighted by how similar they look.

    Why: a pane of glass has one slope, and an opaque rim may be next to it. Colours [h, w, 3] tell the two apart.
    """
    height, width = count.shape
    margin = [(NEIGHBOURS, NEIGHBOURS)] * 2
    values = np.pad(np.concatenate([moments, count[None], np.ones((1, height, width))]), [(0, 0), *margin])
    colours, total = np.pad(colour, [*margin, (0, 0)]), np.zeros(())
    for top, left in np.ndindex(2 * NEIGHBOURS + 1, 2 * NEIGHBOURS + 1):
        rows, columns = slice(top, top + height), slice(left, left + width)
        similar = np.exp(-np.square(colours[rows, columns] - colour).mean(-1) / (2 * SIMILAR**2))
        total = total + similar * values[:, rows, columns]
    return total[:-2] / total[-1], total[-2]


def _fit_slope(moments: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slope and its standard error, from the covariance and the variances of the background's and own colour."""
    covariance, variance, own = moments
    slope = covariance / (variance + 1e-3)
    residual = np.maximum(own - slope * covariance, 0) + FRAME_NOISE**2
    return slope, np.sqrt(residual / ((variance + 1e-3) * np.maximum(count - 2, 0.1)))
