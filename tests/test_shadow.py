"""The shadow of a character: told from its mask where texture or a soft edge says so; a dark coat is none."""

import dataclasses

import cv2
import numpy as np
import pytest

from eqvid_tf.data.clips import open_clip
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.separation import layers as layers_module
from eqvid_tf.separation.graph_cut import Seeds
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.masks import difference_coverage
from eqvid_tf.separation.shadow import darkening, has_shadow, without_shadows

SIZE, COUNT = (64, 96), 12


def textured() -> np.ndarray:
    coarse = np.random.default_rng(0).uniform(90, 200, (22, 32, 3)).astype(np.float32)
    return resize(coarse, SIZE).clip(0, 255)


def film(background, colour, depth: float, soft: float):
    """Frames, masks [T, H, W] and darkening [T, H, W] of a body that walks over a background and casts a shadow."""
    frames, masks, darks = [], [], []
    for x in np.linspace(16, 70, COUNT).astype(int):
        mask, cast = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
        cv2.rectangle(mask, (int(x) - 6, 14), (int(x) + 6, 44), 1, -1)
        cv2.ellipse(cast, (int(x) + 10, 48), (16, 6), 0, 0, 360, 1, -1)
        dark = depth * (cv2.GaussianBlur(cast, (0, 0), soft) if soft else cast) * (1 - mask)
        frame = background * (1 - dark[..., None]) * (1 - mask[..., None]) + mask[..., None] * np.array(colour)
        frames.append(frame.round().clip(0, 255).astype(np.uint8))
        masks.append(mask)
        darks.append(dark)
    return np.stack(frames), np.stack(masks), np.stack(darks)


PLAIN = np.full((*SIZE, 3), (150, 160, 140), np.float32)


@pytest.mark.parametrize(
    ("background", "soft"), [(textured(), 1.5), (textured(), 0), (PLAIN, 2.5)], ids=["texture", "sharp", "plain"]
)
def test_a_shadow_is_no_part_of_the_mask(background, soft):
    frames, masks, darks = film(background, (220, 40, 60), 0.35, soft)
    before = difference_coverage(frames, background)
    after = without_shadows(frames, background, before, 0.0)
    iou = lambda found: ((found > 0.5) & (masks > 0.5)).sum() / ((found > 0.5) | (masks > 0.5)).sum()
    assert iou(before) < 0.75 and iou(after) > 0.9
    found = np.stack([darkening(f, background, mask, 0.0) for f, mask in zip(frames, before)])
    inside = darks > 0.2
    assert np.abs(found - darks)[inside].mean() < 0.05


def test_a_soft_shadow_is_taken_from_a_filmed_mask_before_its_colours_are_looked_at(trained, scene, monkeypatch):
    """On a plain wall a shadow has the colours of a grey body."""
    layers = ClipLayers(trained, open_clip(scene))
    layers.visible_background = dataclasses.replace(layers.visible_background, noise=0.0)
    layers._softly_shaded = True
    monkeypatch.setattr(layers_module, "cut_alpha", lambda frame, alpha, seeds: alpha)
    frames, masks, darks = film(PLAIN, (220, 40, 60), 0.35, 2.5)
    seeds = Seeds(moving=masks[0] > 0, standing=masks[0] > 1)
    for frame, mask, dark, before in zip(frames, masks, darks, difference_coverage(frames, PLAIN)):
        after = layers._cut_by_colour(before, frame, PLAIN, seeds)
        assert after[mask > 0].mean() > 0.95 and after[dark > 0.2].mean() < 0.1 < before[dark > 0.2].mean()


def test_a_filmed_body_before_what_no_frame_shows_is_opaque(trained, scene):
    seen = ClipLayers(trained, open_clip(scene))
    whole = dataclasses.replace(seen.visible_background, noise=3.0, seen=np.ones(seen.clip.size, bool))
    partly = dataclasses.replace(whole, seen=np.arange(seen.clip.size[1]) > np.zeros((seen.clip.size[0], 1)))
    unseen = ClipLayers(trained, open_clip(scene))
    seen.visible_background, unseen.visible_background = whole, partly
    assert unseen.is_filmed and unseen.translucency.translucency is None
    np.testing.assert_array_equal(unseen.background, partly.picture)
    assert seen.is_filmed and seen.translucency.translucency is not None


@pytest.mark.parametrize("background", [textured(), PLAIN], ids=["texture", "plain"])
@pytest.mark.parametrize("colour", [(20, 20, 24), (75, 80, 70), (105, 112, 98)], ids=["black", "half", "grey"])
def test_a_dark_coat_is_no_shadow(background, colour):
    frames, masks, _ = film(background, colour, 0, 0)
    coverage = difference_coverage(frames, background)
    assert not has_shadow(frames, background, coverage, 0.0)
    assert without_shadows(frames, background, coverage, 0.0) is coverage
