"""Many frames show a character finer than one does; and only where they show the same."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from eqvid_tf.core import affine
from eqvid_tf.data.clips import read_image
from eqvid_tf.evaluation.scorecard import character_box, psnr
from eqvid_tf.pixels.coordinates import box_from_frame, homogeneous
from eqvid_tf.pixels.resampling import move, over
from eqvid_tf.rendering.shots import FrameFinder, read_shots, render_shot
from eqvid_tf.separation import texture
from eqvid_tf.separation.texture import BYTES, Textures, View, crop_view, super_resolve

SIZE = (32, 44)
BACKGROUND = move(np.random.default_rng(2).uniform(0, 255, (5, 7, 3)).astype("float32"), np.eye(2, 3), SIZE).clip(
    0, 255
)
FRAME_FROM_SPRITE = np.linalg.inv(box_from_frame(SIZE, 8, 12, 16, 16))


@pytest.fixture(scope="module")
def sprite():
    """A disc with noise on it, four times as fine as the frames: premultiplied RGBA in [0, 255]."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disc = np.clip((0.9 - np.hypot(x, y)) * 32, 0, 1)[..., None]
    noise = move(random.uniform(0, 255, (12, 12, 3)).astype("float32"), np.eye(2, 3), (64, 64)).clip(0, 255)
    return np.concatenate([noise * disc, 255 * disc], -1)


def shown(sprite, motion) -> np.ndarray:
    """The sprite as a frame shows it after a motion, rounded to grey levels; coverage in [0, 1]."""
    fine = move(sprite, homogeneous(motion) @ FRAME_FROM_SPRITE, (8 * SIZE[0], 8 * SIZE[1]))
    return fine.reshape(SIZE[0], 8, SIZE[1], 8, -1).mean((1, 3)).round().clip(0, 255) / BYTES


@pytest.fixture(scope="module")
def motions():
    """Of 20 frames: shifts by parts of pixels, turns and zooms; the first is none."""
    random = np.random.default_rng(1)
    shifts = random.uniform(-0.2, 0.2, (20, 2))
    found = [
        np.asarray(
            affine.build(
                shift=shift[None],
                turn=[random.uniform(-0.5, 0.5)],
                zoom=[random.uniform(0.9, 1.15)],
                aspect=SIZE[1] / SIZE[0],
            )
        )[0]
        for shift in shifts
    ]
    return np.stack([np.eye(2, 3), *found[1:]]).astype("float64")


def views(layers, motions, cuts=None) -> list[View]:
    """Of frames in which the layers lie on a background, and of what was cut out of them: by default just that."""
    found = [
        crop_view(layer if cuts is None else cuts[k], over(layer, BACKGROUND), BACKGROUND)
        for k, layer in enumerate(layers)
    ]
    return [
        dataclasses.replace(view, box_from_frame=view.box_from_frame @ homogeneous(motion))
        for view, motion in zip(found, motions)
    ]


def quality(layer, sprite, motion) -> float:
    return psnr(shown(sprite, motion) * BYTES / 255, layer * BYTES / 255)


TARGET = np.array([[1.2, -0.3, 0.03], [0.4, 1.2, -0.05]])


def test_many_frames_show_more_than_one(sprite, motions):
    layers = [shown(sprite, motion) for motion in motions]
    own, *others = views(layers, motions)
    one, many = (super_resolve(own, more).render(TARGET, SIZE) for more in ([], others))
    bicubic = move(layers[0], TARGET)
    assert quality(one[0], sprite, TARGET) > quality(bicubic, sprite, TARGET) + 3
    assert quality(many[0], sprite, TARGET) > quality(one[0], sprite, TARGET) + 4
    inside = many[0][..., 3] > 0.99
    assert abs(one[1][inside].mean() - 1) < 0.05 and abs(many[1][inside].mean() - len(motions)) < 3


def test_what_a_frame_shows_otherwise_does_not_count_there(sprite, motions):
    layers = [shown(sprite, motion) for motion in motions]
    arm = sprite.copy()
    arm[40:56, 20:44, :3] = [250, 20, 20] * (arm[40:56, 20:44, 3:] / 255)
    waving = [shown(arm if k % 2 else sprite, motion) for k, motion in enumerate(motions)]
    still, moved = (
        super_resolve(own, others).render(TARGET, SIZE)
        for own, *others in (views(layers, motions), views(waving, motions))
    )
    assert quality(moved[0], sprite, TARGET) > quality(still[0], sprite, TARGET) - 2
    arm_only = (np.abs(shown(arm, TARGET) - shown(sprite, TARGET)).max(-1) > 100)[..., None]
    assert moved[1][arm_only].mean() < 0.6 * moved[1][(moved[0][..., 3:] > 0.99) & ~arm_only].mean()


def test_motions_that_are_off_by_half_a_pixel_are_put_right(sprite, motions):
    """Also where all others are off alike, and only the own frame does not fit."""
    layers, random = [shown(sprite, motion) for motion in motions], np.random.default_rng(3)
    away = [
        affine.build(shift=[shift])
        for shift in random.uniform(-0.4, 0.4, (len(motions), 2)) * 2 / SIZE[0] + 0.5 / SIZE[0]
    ]
    about = [np.asarray(off)[0] @ homogeneous(motion) for off, motion in zip(away, motions)]
    own, *others = views(layers, [motions[0], *about[1:]])
    exact = super_resolve(own, views(layers, motions)[1:]).render(TARGET, SIZE)[0]
    assert (
        quality(super_resolve(own, others).render(TARGET, SIZE)[0], sprite, TARGET) > quality(exact, sprite, TARGET) - 1
    )


def test_coverage_is_told_by_what_shows_through(sprite, motions):
    """Of glass, cut out as if it were opaque, before other places of the background."""
    glass = sprite * 0.5
    layers = [shown(glass, motion) for motion in motions]
    cuts = [shown(sprite, motion) for motion in motions]
    own, *others = views(layers, motions, cuts)
    through, wrong = shown(glass, TARGET), shown(sprite, TARGET)
    found = super_resolve(own, others).render(TARGET, SIZE)[0]
    inside = wrong[..., 3] > 0.99
    assert np.abs(found - through)[inside, 3].mean() < 0.6 * np.abs(wrong - through)[inside, 3].mean()


def test_wrong_motions_are_no_worse_than_one_frame(sprite, motions):
    layers = [shown(sprite, motion) for motion in motions]
    own, *others = views(layers, motions[[0, *range(len(motions) - 1, 0, -1)]])
    alone, misled = (super_resolve(own, more).render(TARGET, SIZE)[0] for more in ([], others))
    assert quality(misled, sprite, TARGET) > quality(alone, sprite, TARGET) - 1


@pytest.mark.parametrize("zoom", [0.25, 1.0, 2.0])
def test_a_frame_set_down_as_it_is_or_smaller_does_not_alias(sprite, zoom):
    (own,) = views([shown(sprite, np.eye(2, 3))], [np.eye(2, 3)])
    motion = np.diag([zoom, zoom, 1])[:2]
    layer, support = super_resolve(own, []).render(motion, SIZE)
    assert layer.shape == (*SIZE, 4) and support.shape == (*SIZE, 1)
    assert quality(layer, sprite, motion) > {0.25: 50, 1.0: 50, 2.0: 28}[zoom]


def test_a_frame_without_a_character_has_an_empty_texture():
    layer, support = super_resolve(crop_view(np.zeros((*SIZE, 4), "float32"), BACKGROUND, BACKGROUND), []).render(
        TARGET, SIZE
    )
    assert not layer.any() and support.max() > 0


def test_a_clip_of_one_frame_has_no_other_views():
    assert Textures(SimpleNamespace(clip=SimpleNamespace(count=1))).views == {}


def test_more_passes_come_closer(sprite, motions, monkeypatch):
    """At the edge of what a frame shows hardly anything holds the picture; it does not run away there."""
    layers, found = [shown(sprite, motion) for motion in motions], []
    for passes in (2, 8, 32):
        monkeypatch.setattr(texture, "PASSES", passes)
        own, *others = views(layers, motions)
        found.append(quality(super_resolve(own, others).render(TARGET, SIZE)[0], sprite, TARGET))
    assert found == sorted(found)


def test_shots_are_drawn_from_the_whole_clip(trained, scene, monkeypatch):
    """The motions that the clip never shows, drawn by a trained model from all frames, and from the named one alone."""
    shots = [shot for shot in read_shots(scene / "shots.json") if shot.name.startswith("move")]
    expected = [read_image(scene / "expected" / f"{shot.name}.png") / 255 for shot in shots]
    boxes = [character_box(read_image(scene / "expected_masks" / f"{shot.name}.png")[..., 0] / 255) for shot in shots]

    def error() -> float:
        finder = FrameFinder(trained, cache=None)
        pictures = [render_shot(finder, shot) / 255 for shot in shots]
        return np.mean([np.square(a[box] - b[box]).mean() for a, b, box in zip(pictures, expected, boxes)])

    together = error()
    monkeypatch.setattr(texture, "LEAST_TRUST", 2)
    assert together < 0.9 * error()


def test_many_shots_are_drawn_as_few_are(trained, scene):
    """In a graph of the networks, which takes longer to make than a few shots take without one."""
    shot, finder = read_shots(scene / "shots.json")[0], FrameFinder(trained, cache=None)
    alone = render_shot(finder, shot).astype(int)
    finder.expect_many()
    assert np.abs(render_shot(finder, shot) - alone).max() <= 1
