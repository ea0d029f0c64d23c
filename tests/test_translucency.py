"""What several frames know together: glass differs from an opaque grey, and only where the frames agree."""

import numpy as np
import pytest

from eqvid_tf.pixels.resampling import move
from eqvid_tf.separation.cutout import extract_layer
from eqvid_tf.separation.masks import without_static_parts
from eqvid_tf.separation.motions import frame_weights, reference_frame
from eqvid_tf.separation.translucency import Observation, fit_translucency, refine_coverage

SIZE = (40, 56)
GLASS = 0.3  # its coverage
COUNT = 24


@pytest.fixture(scope="module")
def passing():
    """A pane of glass with an opaque heart, over a still background: background, true coverage, frames, motions."""
    random = np.random.default_rng(0)
    coarse = random.uniform(30, 220, (7, 10, 3)).astype("float32")
    background = move(coarse, np.eye(2, 3), SIZE)
    pane = np.zeros((*SIZE, 4), "float32")
    pane[14:28, 6:20] = GLASS * np.array([120, 120, 120, 1])
    pane[18:24, 10:16] = (200, 40, 40, 1)
    steps = np.linspace(0, 1, COUNT)
    motions = np.array([[[1, 0, 1.2 * s], [0, 1, 0.2 * np.sin(6 * s)]] for s in steps])
    layers = [move(pane, motion) for motion in motions]
    frames = [layer[..., :3] + (1 - layer[..., 3:]) * background for layer in layers]
    frames = np.clip(np.stack(frames) + random.normal(0, 1, (COUNT, *SIZE, 3)), 0, 255).round().astype("uint8")
    return background, np.stack([layer[..., 3] for layer in layers]), frames, motions


def observe(frames, motions):
    return lambda: (Observation(frame=frame, motion=motion, weight=1.0) for frame, motion in zip(frames, motions))


def fit(background, alpha, frames, motions, seen=None):
    seen = np.ones(SIZE, bool) if seen is None else seen
    return fit_translucency(observe(frames, motions), background, seen, alpha[0]).translucency


def opaque(alpha):
    """What one frame alone makes of it: all of the pane is cut out in full."""
    return (alpha > 0.1).astype("float32")


def test_glass_is_told_from_an_opaque_grey(passing):
    background, alpha, frames, motions = passing
    found = fit(background, opaque(alpha), frames, motions)
    inside = np.zeros(SIZE, bool)
    inside[16:26, 8:18] = True
    for k in (0, COUNT // 2):
        mended = refine_coverage(found, opaque(alpha[k]), frames[k], background, motions[k])
        middle = move(inside[..., None].astype("float32"), motions[k])[..., 0] > 0.99
        assert np.abs(opaque(alpha[k]) - alpha[k])[middle].mean() > 0.3
        assert np.abs(mended - alpha[k])[middle].mean() < 0.06
        heart = middle & (alpha[k] > 0.99)
        assert mended[heart].min() > 0.9
        layer = extract_layer(frames[k], background, mended)
        np.testing.assert_array_equal(layer[..., 3], mended)
        assert np.abs(layer[..., :3] + (1 - layer[..., 3:]) * background - frames[k])[middle].mean() < 3


def test_what_was_never_seen_is_not_believed(passing):
    """A hole in the background, with a wrong guess in it, on the pane's way."""
    background, alpha, frames, motions = passing
    wrong, seen = background.copy(), np.ones(SIZE, bool)
    wrong[12:32, 24:34], seen[12:32, 24:34] = (250, 0, 250), False
    middle = np.s_[17:25, 8:10]
    careless = fit(wrong, opaque(alpha), frames, motions)
    careful = fit(wrong, opaque(alpha), frames, motions, seen)
    errors = [
        np.abs(refine_coverage(each, opaque(alpha[0]), frames[0], background, motions[0]) - alpha[0])[middle].mean()
        for each in (careless, careful)
    ]
    assert errors[1] < 0.1 < errors[0]


def test_a_place_that_was_never_seen_is_looked_at_through_the_glass(passing):
    """Of a place on the pane's way the background is a wrong guess; frames show it through the glass or not at all."""
    background, alpha, frames, motions = passing
    wrong, seen = background.copy(), np.ones(SIZE, bool)
    wrong[18:24, 26:34], seen[18:24, 26:34] = (250, 0, 250), False
    found = fit_translucency(observe(frames, motions), wrong, seen, opaque(alpha[0]))
    mended = found.background
    assert np.abs(wrong - background)[~seen].mean() > 60
    assert np.abs(mended - background)[~seen].max() < 15
    np.testing.assert_array_equal(mended[seen], background[seen])
    k = COUNT // 2
    coverage = refine_coverage(found.translucency, opaque(alpha[k]), frames[k], mended, motions[k])
    assert np.abs(coverage - alpha[k])[move(opaque(alpha[0])[..., None], motions[k])[..., 0] > 0.99].mean() < 0.06


def test_through_what_is_opaque_nothing_is_seen(passing):
    """A place that a slow, solid pane hides in every frame."""
    background, alpha, _, motions = passing
    slow = motions * [1, 1, 0.3]
    solid = np.stack([move(opaque(alpha[0])[..., None], motion) for motion in slow])
    frames = (solid * 120 + (1 - solid) * background).clip(0, 255).round().astype("uint8")
    seen = solid.min(0)[..., 0] < 0.9
    wrong = np.where(seen[..., None], background, np.array([250, 0, 250], "float32"))
    found = fit_translucency(observe(frames, slow), wrong, seen, opaque(alpha[0]))
    assert found.translucency is not None and not seen.all()
    np.testing.assert_array_equal(found.background, wrong)


def test_wrong_motions_and_no_character_give_nothing(passing):
    background, alpha, frames, motions = passing
    assert fit(background, opaque(alpha), frames, motions[::-1]) is None
    assert fit(background, 0 * alpha, frames, motions) is None


def test_the_reference_shows_the_character_whole_and_in_motion():
    frames = np.zeros((6, 20, 20, 3), "uint8")
    coverage = np.zeros((6, 20, 20), "float32")
    for k, left in enumerate((0, 0, 0, 4, 8, 17)):
        frames[k, 5:12, left : left + 6], coverage[k, 5:12, left : left + 6] = 255, 1
    weights = frame_weights(frames)
    assert reference_frame(coverage, weights) in (3, 4)  # not at rest, not at the border
    assert weights[0] < 0.1 < weights[3] <= 1


def test_a_frame_that_disagrees_keeps_its_own_coverage(passing):
    """The pane changes its colour in one frame: what the others tell is no evidence there."""
    background, alpha, frames, motions = passing
    found = fit(background, opaque(alpha), frames, motions)
    changed = np.where(alpha[5][..., None] > 0.1, np.uint8([0, 255, 0]), frames[5])
    mended = refine_coverage(found, opaque(alpha[5]), changed, background, motions[5])
    assert np.abs(mended - opaque(alpha[5])).max() < 0.15


def test_what_every_mask_hides_has_to_move_along(passing):
    """A flaw of the background is hidden in every frame and stays where it is."""
    _, alpha, _, motions = passing
    masks, weights = opaque(alpha), np.ones(COUNT)
    flawed = masks.copy()
    flawed[:, 30:32, 50:52] = 1
    np.testing.assert_array_equal(without_static_parts(flawed, motions, weights), masks)
    np.testing.assert_array_equal(
        without_static_parts(flawed, motions * [1, 1, 4], weights), flawed
    )  # wrong motions say nothing
    faint = np.minimum(masks, 0.25) + np.float32(0.15)  # hidden in every frame, and certain in none
    np.testing.assert_array_equal(without_static_parts(faint, motions, weights), faint)
    # a place that a slow character itself hides in every frame
    slow = motions * [1, 1, 0.1]
    masks = np.stack([opaque(move(alpha[0][..., None], motion)[..., 0]) for motion in slow])
    assert (masks.min(0) > 0.5).any()
    np.testing.assert_array_equal(without_static_parts(masks, slow, weights), masks)
