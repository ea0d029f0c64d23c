"""Bodies that stay about where they are while the camera goes along with them: no median of the frames is without them.

A place of the mosaic that moves by itself in every frame that sees it holds such a body. What of a frame is the body's
is decided along the colours of that frame (a graph cut), by what moves there: the optical flow is smooth and goes on
over plain ground beside the body, so it counts where it explains the frames before and after better than no motion.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from eqvid_tf.pixels.edges import edge_strength, put_there
from eqvid_tf.pixels.flow import optical_flow
from eqvid_tf.pixels.grab_cut import learn_colours, of_character
from eqvid_tf.pixels.morphology import dilate, reconstruct
from eqvid_tf.pixels.resampling import move_with_validity

APART = 12  # of so many parts of a clip, one lies between two frames whose flow is measured
LEAST = 0.5  # pixels of small frames: what moves by less does not
LIKELY, MAYBE = 4.0, 2.0  # times the usual flow: what moves by as much likely does, and may
EXPLAINED = 2.0  # times the usual difference between frames: what the flow takes away of it where something moves
WINDOW = 5  # pixels, over which frames are compared
OFTEN = 0.5  # share of the frames that see such a place, at least
SMALLEST, LARGEST = 0.003, 0.3  # frame areas of a place that always moves
AROUND = 4  # pixels around what likely moves that may be the body's, too
MOMENT = 5  # frames; a body is not gone from a place for less than half of them
RIM = 2  # pixels around a body that are mixed with it
FEWEST_CLEAR = 3  # frames that show a place without a body that rests there
STANDS_OUT = 0.7  # of the rim of such a body, where the mosaic has an edge and those frames have none
SHARP = 12.0  # grey levels a pixel: the edge of a body; foam and wet sand have 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flow:
    """How what frames show moves by itself, the camera's motion taken out.

    To a frame after and one before, a twelfth of the clip away; nan where that does not see the place.

    Shapes: each [N, 2, h, w] float32.

    Attributes:
        pixels: by which it moves.
        explained: grey levels of the difference between the two frames that its motion takes away.
        usual: grey levels by which two frames differ at the same place, in the median.
    """

    pixels: np.ndarray
    explained: np.ndarray
    usual: float

    @property
    def farthest(self) -> np.ndarray:
        """The larger motion of the two, [N, h, w]: also where the ground is hidden before or after."""
        return np.nan_to_num(np.fmax(self.pixels[:, 0], self.pixels[:, 1]))

    @property
    def surest(self) -> tuple[np.ndarray, np.ndarray]:
        """The smaller motion of the two and what is explained, [N, h, w] each, in units of what is usual."""
        pixels, explained = (np.nan_to_num(np.fmin(a[:, 0], a[:, 1])) for a in (self.pixels, self.explained))
        return pixels / max(float(np.median(pixels)), LEAST / LIKELY), explained / max(self.usual, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Occupied:
    """Where a body that stays about where it is hides the background of a clip, on a canvas.

    Attributes:
        background: the mosaic, float32 [h, w, 3] in [0, 255].
        mostly: bool [h, w], where it does so in more than half of the frames: a median would show the body.
        shows: bool [T, h, w], where frames show the character for sure, as none shows the background.
    """

    background: np.ndarray
    mostly: np.ndarray
    shows: np.ndarray

    @property
    def always(self) -> np.ndarray:
        """What no frame shows without the character, bool [h, w]."""
        return np.asarray(self.shows.any(0))

    def in_place_of(self, background: np.ndarray) -> np.ndarray:
        """A background [h, w, 3] that was made without this knowledge, mended."""
        return np.where(self.mostly[..., None], self.background, background)


def measure_flow(frames: np.ndarray, view_from_frame: np.ndarray) -> Flow:
    """The optical flow between small frames.

    Shapes: frames uint8 [N, h, w, 3], view_from_frame [N, 3, 3]: from their coordinates to those that all have.
    """
    apart, size = max(1, round(len(frames) / APART)), frames[0].shape[:2]
    pixels, explained, differs = np.full((3, len(frames), 2, *size), np.nan, np.float32)
    for index, frame in enumerate(frames):
        for way, other in enumerate((index + apart, index - apart)):
            if 0 <= other < len(frames):
                matrix = np.linalg.inv(view_from_frame[index]) @ view_from_frame[other]
                seen, valid = move_with_validity(frames[other], matrix, size)
                seen, known = np.where(valid[..., None], seen, frame), np.where(dilate(~valid, WINDOW // 2), np.nan, 1)
                flow, there = _followed(frame, seen)
                before, after = _difference(frame, seen), _difference(frame, there)
                pixels[index, way] = known * np.hypot(flow[..., 0], flow[..., 1])
                explained[index, way], differs[index, way] = known * (before - after), known * before
    usual = np.median(np.nan_to_num(np.fmin(differs[:, 0], differs[:, 1])))
    return Flow(pixels=pixels, explained=explained, usual=float(usual))


def _followed(frame: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The optical flow from a frame [h, w, 3] to another, [h, w, 2] pixels, and the other read there."""
    grey, grey_other = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (frame, other))
    flow = optical_flow(grey, grey_other, cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = frame.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    place = x + flow[..., 0], y + flow[..., 1]
    return flow, cv2.remap(other, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _difference(frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Grey levels [h, w] by which two frames differ around each place."""
    return cv2.blur(cv2.absdiff(frame, other).astype(np.float32).mean(-1), (WINDOW, WINDOW))


def find_staying(frames: np.ndarray, flow: Flow, view_from_frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The masks of bodies that stay about where they are, with their rim, bool [N, h, w]; empty where there is none.

    Args:
        frames: of a clip, small: uint8 [N, h, w, 3].
        flow: of these frames.
        view_from_frame: [N, 3, 3], from the coordinates of each frame to those of the mosaic.
        size: (height, width) of the mosaic of such small frames.
    """
    moved, explained = flow.surest
    covered, seen = count_views(moved > LIKELY, view_from_frame, size)
    always = (covered == seen) & (seen >= OFTEN * len(frames))
    places = _islands(always, seen > 0, moved[0].size)
    masks = np.zeros(moved.shape, bool)
    if not places.any():
        return masks
    for index, matrix in enumerate(view_from_frame):
        place = _in_frame(places, matrix, frames[index])
        masks[index] = _cut(frames[index], moved[index], explained[index], place)
    return dilate(_steady(masks, view_from_frame, size), RIM)


def find_resting(frames: np.ndarray, picture: np.ndarray, view_from_frame: np.ndarray) -> np.ndarray:
    """The masks of bodies at rest that a mosaic has taken for background, with their rim, bool [N, h, w].

    Such a body has a sharp edge of its own all around, which frames in which it is gone have not.

    Args:
        frames: of a clip, small: uint8 [N, h, w, 3].
        picture: the mosaic of such frames, uint8 [H, W, 3].
        view_from_frame: [N, 3, 3], from the coordinates of each frame to those of the mosaic.
    """
    size, own = picture.shape[:2], edge_strength(picture)
    clear = np.zeros((len(frames), *size), bool)
    for index, (frame, matrix) in enumerate(zip(frames, view_from_frame)):
        laid, seen = move_with_validity(frame, matrix, size)
        for place in put_there(picture, own, laid, edge_strength(laid), seen=seen, most=STANDS_OUT):
            clear[index] |= place & (own[dilate(place, 1) & ~place].mean() > SHARP)
    resting = clear.sum(0) >= FEWEST_CLEAR
    hidden = dilate(resting, RIM) & ~dilate(clear, RIM)
    return np.stack([_in_frame(mask, *where) for mask, *where in zip(hidden, view_from_frame, frames)])


def _in_frame(mask: np.ndarray, view_from_frame: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """A mask of the mosaic as a frame [h, w, ...] sees it, by a matrix [3, 3]: bool [h, w]."""
    return move_with_validity(mask.astype(np.float32), np.linalg.inv(view_from_frame), frame.shape[:2])[0] > 0.5


def count_views(masks: np.ndarray, view_from_frame: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """In how many frames masks [N, h, w] cover each place of the mosaic, and how many frames see it: [*size] each."""
    covered, seen = np.zeros(size, int), np.zeros(size, int)
    for mask, valid in _laid(masks, view_from_frame, size):
        covered, seen = covered + (mask & valid), seen + valid
    return covered, seen


def _laid(masks: np.ndarray, view_from_frame: np.ndarray, size: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks [N, h, w] laid on the mosaic, and what each frame sees of it: bool [*size] each."""
    moved = [move_with_validity(m.astype(np.float32), matrix, size) for m, matrix in zip(masks, view_from_frame)]
    return [(laid > 0.5, valid) for laid, valid in moved]


def _islands(always: np.ndarray, seen: np.ndarray, frame_area: int) -> np.ndarray:
    """Places that always move, not much smaller or larger than a body, with ground all around that is seen: [H, W]."""
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(always.astype(np.uint8))
    rim, found = dilate(np.pad(~seen, 1, constant_values=True), 2)[1:-1, 1:-1], np.zeros(always.shape, bool)
    for number in range(1, count):
        place = labels == number
        if SMALLEST < boxes[number, cv2.CC_STAT_AREA] / frame_area < LARGEST and not (place & rim).any():
            found |= place
    return found


def _cut(frame: np.ndarray, moved: np.ndarray, explained: np.ndarray, place: np.ndarray) -> np.ndarray:
    """What moves and is connected to a place of a frame [h, w, 3], along its colours: bool [h, w]."""
    moves = reconstruct(place & (moved > LIKELY), moved > LIKELY)
    surely = cv2.erode((moves & (explained > EXPLAINED)).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    labels = np.full(moves.shape, cv2.GC_BGD, np.uint8)
    labels[dilate(moves, AROUND) | reconstruct(moves, moved > MAYBE)] = cv2.GC_PR_BGD
    labels[moves & (explained > 0)] = cv2.GC_PR_FGD
    labels[surely] = cv2.GC_FGD
    if not surely.any() or (labels != cv2.GC_BGD).all():  # no colours to learn
        return moves
    learn_colours(frame, labels)
    return of_character(labels)


def _steady(masks: np.ndarray, view_from_frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Masks [N, h, w] without what flickers: each place of the mosaic is as in most of the frames around each."""
    laid = np.stack([np.where(valid, mask, np.float32(np.nan)) for mask, valid in _laid(masks, view_from_frame, size)])
    steady = np.empty_like(masks)
    for index, matrix in enumerate(view_from_frame):
        first = int(np.clip(index - MOMENT // 2, 0, max(len(masks) - MOMENT, 0)))
        around = laid[first : first + MOMENT]
        mostly = 2 * np.nansum(around, 0) > np.isfinite(around).sum(0)
        steady[index] = _in_frame(mostly, matrix, masks[index])
    return steady
