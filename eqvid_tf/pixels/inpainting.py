"""Fill what a picture does not show with patches of what it shows, so that its texture goes on.

Why not OpenCV's `inpaint`: it smears. Here every patch that touches the hole looks for the known patch that is most
like it, and the hole takes the mean of what these say, a few times over, on a small picture first and then on finer
ones.

Means lose what is irregular in a texture (grass), so whole patches are copied in the end, in their place by what the
means say, and the edges between them are taken away.

Source: Y. Wexler, E. Shechtman, M. Irani, Space-time completion of video, IEEE Transactions on Pattern Analysis and
Machine Intelligence, 2007.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from eqvid_tf.parallel import in_threads
from eqvid_tf.pixels.coordinates import bounding_box, box_slices
from eqvid_tf.pixels.morphology import dilate

PATCH = 3  # pixels each way from the middle of a patch
NEARBY = 24  # pixels around a hole where patches are looked for, and half as many more as the hole is large
LARGEST = 64  # pixels: of a larger hole the patches are found on a picture that is smaller by a whole factor
SMALLEST = 6  # pixels: a hole of at most this size is where it begins
ROUNDS = 6  # at each size
NEAR = 4.0  # grey levels of a patch's pixel that a pixel of distance weighs as much as
INWARDS = 1.3  # factor by which a patch counts less for each pixel that it is further from what is known
COPIED, PLAN = 5, 0.3  # pixels each way of a patch that is copied whole; how much the plan counts beside the known
TONE = 16.0  # grey levels: a patch that differs by less gets the plan's tone, which hides its edge
SMOOTHINGS = 150  # steps of conjugate gradients that take away the edges between patches
CHUNK = 512  # patches that are compared with all known ones at a time


def inpaint(picture: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill the holes of a picture from around them; unchanged where there is nothing else.

    Shapes: picture [H, W, 3] in [0, 255], hole [H, W] bool -> [H, W, 3] float32.
    """
    out = picture.astype(np.float32)
    if hole.all():
        return out
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(dilate(hole, PATCH).astype(np.uint8))
    for number in range(1, count):
        left, top, width, height = boxes[number, :4]
        extent = max(width, height)
        reach, factor = NEARBY + extent // 2, int(np.ceil(extent / LARGEST))
        around = slice(max(top - reach, 0), top + height + reach), slice(max(left - reach, 0), left + width + reach)
        _fill(out[around], hole[around], labels[around] == number, factor)
    return out


def _fill(picture: np.ndarray, hole: np.ndarray, chosen: np.ndarray, factor: int) -> None:
    """Fill the chosen part of the hole in place; the patches are found on a picture smaller by a factor."""
    padded = [(0, -n % factor) for n in hole.shape]
    wide, unknown = np.pad(picture, [*padded, (0, 0)], mode="edge"), np.pad(hole, padded, constant_values=True)
    small, small_unknown = _shrink(wide, unknown, factor)
    plan = small[tuple(_sources(small, small_unknown))]
    copied = _copied(plan, small_unknown)
    tone = plan - small[tuple(copied)]
    tone = cv2.GaussianBlur(np.where(np.abs(tone).max(-1, keepdims=True) < TONE, tone, 0), (0, 0), COPIED / 2)
    tone = cv2.resize(tone, unknown.shape[::-1], interpolation=cv2.INTER_LINEAR)
    places = np.array(np.indices(unknown.shape))
    source = np.where(unknown, copied[:, *(places // factor)] * factor + places % factor, places)
    chosen = hole & chosen
    box = bounding_box(np.pad(chosen, padded), 2)
    assert box is not None
    part = box_slices(box)
    steps = [_steps(wide, unknown, source[:, *part], axis) for axis in (0, 1)]
    start = wide[tuple(source[:, *part])] + tone[part]
    filled, place = np.zeros_like(wide), np.pad(chosen, padded)
    filled[part] = _without_seams(start, steps, place[part])
    picture[chosen] = filled[: hole.shape[0], : hole.shape[1]][chosen].clip(0, 255)


def _without_seams(start: np.ndarray, steps: Sequence[np.ndarray], hole: np.ndarray) -> np.ndarray:
    """A picture [h, w, 3] whose steps from place to place in a hole [h, w] are as wanted along both axes.

    So patches that differ in tone have no edge between them. The hole's rim is known (Poisson's equation, by conjugate
    gradients from a start).

    Source: P. Perez, M. Gangnet, A. Blake, Poisson image editing, ACM Transactions on Graphics, 2003.
    """
    inner = hole.astype(np.float32)[..., None]

    def laplacian(values: np.ndarray, wanted: Sequence[np.ndarray] | None = None) -> np.ndarray:
        total = np.zeros_like(values)
        for axis in (0, 1):
            change = np.diff(values, axis=axis)
            change = change - wanted[axis] if wanted else change
            ahead, behind = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
            total[ahead] += change
            total[behind] -= change
        return total * inner

    out: np.ndarray = start.astype(np.float32)
    residual: np.ndarray = -laplacian(out, steps)
    direction, power = residual.copy(), float(np.square(residual).sum())
    for _ in range(SMOOTHINGS):
        if power < 1e-3:
            break
        along = laplacian(direction)
        length = power / max(float((direction * along).sum()), 1e-12)
        out, residual = out + length * direction, residual - length * along
        former, power = power, float(np.square(residual).sum())
        direction = residual + power / former * direction
    return out


def _steps(picture: np.ndarray, unknown: np.ndarray, source: np.ndarray, axis: int) -> np.ndarray:
    """From each place to the next along an axis, the step that the places say which both come from.

    Where these are of different patches it is the mean of what both say.
    """
    first, second = (source.take(range(k, source.shape[axis + 1] - 1 + k), axis + 1) for k in (0, 1))
    total, count = np.zeros((*first.shape[1:], 3), np.float32), np.zeros((*first.shape[1:], 1), np.float32)
    for a, b in ((first, _beside(first, axis, 1, unknown.shape)), (_beside(second, axis, -1, unknown.shape), second)):
        known = ~(unknown[tuple(a)] | unknown[tuple(b)])[..., None]
        total += known * (picture[tuple(b)] - picture[tuple(a)])
        count += known
    return total / np.maximum(count, 1)


def _beside(places: np.ndarray, axis: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """The places [2, h, w] that are a pixel further along an axis, within a picture of a shape."""
    moved = places.copy()
    moved[axis] = np.clip(moved[axis] + step, 0, shape[axis] - 1)
    return moved


def _shrink(picture: np.ndarray, unknown: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    size = unknown.shape[1] // factor, unknown.shape[0] // factor
    share = cv2.resize(unknown.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA), share > 0


def _sources(picture: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """For each place the known one (y, x) whose colour it takes, [2, h, w]."""
    inner = cv2.erode((~unknown).astype(np.uint8), np.ones((2 * PATCH + 1,) * 2), borderValue=0) > 0
    if not inner.any():
        return _nearest(unknown)
    rows, columns = np.nonzero(unknown)
    small = max(np.ptp(rows), np.ptp(columns)) < SMALLEST or min(unknown.shape) < 8 * PATCH
    out = _smeared(picture, unknown) if small else picture[tuple(_coarse_sources(picture, unknown))]
    match = np.array(np.indices(unknown.shape))
    for _ in range(ROUNDS):
        former, match = match, _matches(out, unknown, inner)
        if np.array_equal(match, former):
            break
        out = _vote(out, unknown, match)
    return match


def _coarse_sources(picture: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """As `_sources`, from a picture of half the size; the nearest known place, where that says nothing."""
    padded = [(0, -n % 2) for n in unknown.shape]
    wide, unknown_wide = np.pad(picture, [*padded, (0, 0)], mode="edge"), np.pad(unknown, padded, mode="edge")
    found = _sources(*_shrink(wide, unknown_wide, 2)).repeat(2, 1).repeat(2, 2) * 2
    found = (found + np.array(np.indices(unknown_wide.shape)) % 2)[:, : unknown.shape[0], : unknown.shape[1]]
    found = np.minimum(found, np.array(unknown.shape)[:, None, None] - 1)
    return np.where(unknown & unknown[tuple(found)], _nearest(unknown), np.where(unknown, found, _nearest(unknown)))


def _smeared(picture: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    filled = cv2.inpaint(picture.clip(0, 255).astype(np.uint8), unknown.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return np.where(unknown[..., None], filled, picture).astype(np.float32)


def _copied(plan: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """For each place the one (y, x) whose colour it takes, [2, h, w], whole patches at a time.

    Why: means of patches lose what is irregular in a texture. They are a plan of what should be where; from the rim
    inwards, each patch copied fits what is there already, and a little the plan.
    """
    source, size = np.array(np.indices(unknown.shape)), 2 * COPIED + 1
    left, picture = unknown.copy(), plan.copy()
    whole = cv2.erode((~unknown).astype(np.uint8), np.ones((size, size)), borderValue=0)[COPIED:-COPIED, COPIED:-COPIED]
    if not whole.any():
        return _nearest(unknown)
    while left.any():
        filled = cv2.blur((~left).astype(np.float32), (size, size), borderType=cv2.BORDER_REFLECT)
        y, x = np.unravel_index(np.where(left, filled, -1).argmax(), left.shape)
        top, side = (int(np.clip(at - COPIED, 0, n - size)) for at, n in zip((y, x), left.shape))
        patch = slice(top, top + size), slice(side, side + size)
        counts = np.where(left[patch], PLAN, 1.0).astype(np.float32)
        cost = cv2.matchTemplate(picture, picture[patch], cv2.TM_SQDIFF, mask=np.repeat(counts[..., None], 3, -1))
        from_top, from_side = np.unravel_index(np.where(whole > 0, cost, np.inf).argmin(), cost.shape)
        best, gap = (slice(from_top, from_top + size), slice(from_side, from_side + size)), left[patch].copy()
        for target in (picture, *source):
            target[patch][gap] = target[best][gap]
        left[patch] = False
    return source


def _patches(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The patches around places (y, x) [N, 2] with where they are, [N, c]."""
    wide = np.pad(picture, [(PATCH, PATCH)] * 2 + [(0, 0)], mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(wide, (2 * PATCH + 1,) * 2, (0, 1))
    values = windows[places[:, 0], places[:, 1]].reshape(len(places), -1)
    return np.concatenate([values, NEAR * places], 1).astype(np.float32)


def _matches(picture: np.ndarray, unknown: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """For each place whose patch touches the hole the middle (y, x) of the known patch most like it, [2, h, w]."""
    match, known = np.array(np.indices(unknown.shape)), np.argwhere(inner)
    touched = np.argwhere(dilate(unknown, PATCH))
    ours, theirs = _patches(picture, touched), _patches(picture, known)
    squares, ours = np.square(theirs).sum(1), -2 * ours

    def nearest(start: int) -> np.ndarray:
        distances = ours[start : start + CHUNK] @ theirs.T
        distances += squares
        return distances.argmin(1)

    best = np.concatenate(list(in_threads(nearest, range(0, len(touched), CHUNK))))
    match[:, touched[:, 0], touched[:, 1]] = known[best].T
    return match


def _vote(picture: np.ndarray, unknown: np.ndarray, match: np.ndarray) -> np.ndarray:
    """The picture with the mean, in the hole, of what all patches that touch a place put there."""
    weight = INWARDS ** -cv2.distanceTransform(unknown.astype(np.uint8), cv2.DIST_L2, 5)
    total, sums = np.zeros(unknown.shape, np.float32), np.zeros_like(picture)
    rows, columns = np.nonzero(dilate(unknown, PATCH))
    height, width = unknown.shape
    for down, right in np.ndindex(2 * PATCH + 1, 2 * PATCH + 1):
        y, x = rows + down - PATCH, columns + right - PATCH
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        y, x, at = y[inside], x[inside], (rows[inside], columns[inside])
        taken = picture[match[0][at] + down - PATCH, match[1][at] + right - PATCH]
        total[y, x] += weight[at]
        sums[y, x] += weight[at][:, None] * taken
    out = picture.copy()
    out[unknown] = sums[unknown] / total[unknown][:, None]
    return out


def _nearest(unknown: np.ndarray) -> np.ndarray:
    """For each place the nearest known one, [2, h, w]."""
    field, distance = np.array(np.indices(unknown.shape)), (cv2.DIST_L2, 5)
    _, labels = cv2.distanceTransformWithLabels(unknown.astype(np.uint8), *distance, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros((2, labels.max() + 1), int)
    nearest[:, labels[~unknown]] = field[:, ~unknown]
    return nearest[:, labels]
