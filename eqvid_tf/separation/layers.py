"""A clip's layers at the clip's own size: the stages from the networks' masks to a cut-out, in their order.

masks -> exposure -> background -> motions -> translucency -> cut-out -> graph cut. Each stage is a module of this wing.
This one only calls them, each once, when its result is first asked for. Shots make a texture of the cut-outs
(`eqvid_tf.separation.texture`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import cv2
import numpy as np

from eqvid_tf.camera.stabilization import stabilize
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip
from eqvid_tf.parallel import LastOfThread, made_ahead
from eqvid_tf.pixels.canvas import canvas_from_clip, fit, fit_box, unfit
from eqvid_tf.pixels.coordinates import carry, chained, mask_centroid
from eqvid_tf.pixels.inpainting import inpaint
from eqvid_tf.pixels.morphology import reconstruct
from eqvid_tf.pixels.resampling import move
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.background import (
    Background,
    ClipSizeCoverage,
    affordable_frames,
    evenly_spaced,
    fit_background,
    is_filmed,
    median_background,
)
from eqvid_tf.separation.corrections import Correction, Stroke, with_strokes
from eqvid_tf.separation.cutout import edge_coverage, extract_layer
from eqvid_tf.separation.exposure import Exposure, LevelledFrames, clip_exposure
from eqvid_tf.separation.graph_cut import Seeds, agreed_seeds, cut_alpha, find_seeds, shows_character, working_size
from eqvid_tf.separation.masks import (
    CLEARLY_SEEN,
    background_is_stored,
    network_background,
    network_coverage,
    network_pictures,
)
from eqvid_tf.separation.motions import (
    MotionEstimates,
    ReferenceMotions,
    estimate_motions,
    frame_weights,
    motion_from_canvas,
    motion_to_canvas,
    reference_frame,
    refine_motions,
)
from eqvid_tf.separation.shadow import AT_TIMES, OFTEN, darkening, ground_darkening, has_shadow, is_usual
from eqvid_tf.separation.smoothing import bridge_motions, smooth_motions
from eqvid_tf.separation.translucency import Observation, TranslucencyFit, fit_translucency, refine_coverage

FEWEST_FRAMES = 8  # frames that can say more together than one alone, of translucency, of what is hidden, of shadows
LEAST_GAIN = 0.2  # share of the cost of an estimated motion, see `refine_motions`
PROBES = 8  # frames that decide whether the model knows the background


class ClipLayers:
    """What a model makes of a whole clip.

    The networks see the clip on their canvas. Their coverage is brought to the clip's own size and refined there along
    the frame's own edges against the background, which is the median of the frames in which a place is visible. Memory
    is bounded: frames are read one at a time, and the background is made from a limited number of them.

    Convention: `clip` is the stabilized clip: where the camera moves, frames, layers, background and motions are in the
        coordinates of one view (see `eqvid_tf.camera.stabilization`). `layer_as_filmed` and
        `background_as_filmed` are in those of a frame as it was filmed.

    Args:
        model: its canvas is where it sees the clip.
        clip: an open clip.
        network_only: only the networks' own output, brought to the clip's size: no pixel of the frames, no median.
        progress: called as progress(items, label, total) around what takes long; returns the items.
        name: with `network_only`, the number of the name of the character that is meant where a clip shows several.
        corrections: what was painted of the character's masks; it counts wherever that is carried.

    Raises:
        CameraTravels: the clip has no one background.
    """

    def __init__(
        self,
        model: EquivariantVideoModel,
        clip: Clip,
        *,
        network_only: bool = False,
        progress: Callable = no_progress,
        name: int | None = None,
        corrections: Sequence[Correction] = (),
    ):
        self.model, self.network_only, self.progress, self.name = model, network_only, progress, name
        self.corrections = corrections
        self._last_parts, self._last_cut = LastOfThread(), LastOfThread()
        self.clip, self.canvas = stabilize(clip, progress, mosaic=model.config.mosaic), model.config.canvas
        self.canvas_frames = self.clip.arrays(self.canvas)

    # ---- the stages

    @cached_property
    def coverage(self) -> np.ndarray:
        """Masks: the networks' coverage on the canvas, float32 [T, h, w] in [0, 1], with what was painted."""
        found = self._found_coverage()
        if not self.corrections:
            return found
        carry = lambda k: [stroke.carried(self.canvas_frames[k], k) for stroke in self._canvas_strokes]
        return np.stack([with_strokes(mask, carry(k)) for k, mask in enumerate(found)])

    def _found_coverage(self) -> np.ndarray:
        """As `coverage`, without what was painted.

        One that the networks find nowhere, too small for them or trained too briefly, is where it was tracked; and on
        plain ground all are, for there hues tell bodies from their shadows more finely than the networks do.
        """
        trusted = not self.network_only and self.background_stored
        if trusted and self.clip.plain and (tracked := self.clip.tracked_coverage(self.canvas)) is not None:
            return tracked
        found = network_coverage(self.model, self.canvas_frames, progress=self.progress, name=self.name)
        if trusted and not (found > 0.5).any() and (tracked := self.clip.tracked_coverage(self.canvas)) is not None:
            return tracked
        return found

    @cached_property
    def exposure(self) -> Exposure:
        """The exposure of each frame, as far as masks and frames on the canvas show it."""
        if self.network_only or not self.background_stored:
            return Exposure.constant(self.clip.count)
        chosen = evenly_spaced(self.clip.count)
        return clip_exposure(self.canvas_frames, median_background(self.canvas_frames[chosen], self.coverage[chosen]))

    @cached_property
    def visible_background(self) -> Background:
        """The background, from the frames that show it; what no frame shows is as the networks draw it."""
        seen = self.to_clip_size(self.coverage[evenly_spaced(self.clip.count)].min(0)) < CLEARLY_SEEN
        chosen = self._affordable
        if self.network_only:
            picture = self.to_clip_size(network_background(self.model, self.canvas_frames[chosen]))
            return Background(picture=picture, noise=0.0, seen=seen)
        frames = self._levelled_frames(chosen)
        if not self.background_stored:
            return fit_background(frames, None, seen)
        coverage = ClipSizeCoverage(coverage=self.coverage[chosen], size=self.clip.size)
        background = fit_background(frames, coverage, seen, self.exposure.trust[chosen], self.clip.noise)
        return self._complete(background) if self.hidden.any() else background

    def _complete(self, background: Background) -> Background:
        """The background with what no frame shows of it: as the networks remember it, at most as finely as they see.

        On larger clips it is filled in from around, for the networks' picture would be a blur in it. A clip of a few
        frames is part of what they remember.
        """
        hidden = self.to_clip_size(self.hidden.astype(np.float32))
        if self.clip.size != self.canvas and self.clip.count >= FEWEST_FRAMES:
            unclear = (hidden > 0) | reconstruct(hidden > 0, ~background.seen)  # its rim, too, in which it is mixed
            return dataclasses.replace(background, picture=inpaint(background.picture, unclear))
        picture = network_background(self.model, self.canvas_frames[self._affordable])
        return background.blend(self.to_clip_size(picture), hidden)

    @cached_property
    def hidden(self) -> np.ndarray:
        """Where the character hides the background in every frame, bool [h, w] on the canvas."""
        if not self.background_stored:
            return np.zeros(self.canvas, bool)
        return self.coverage[self._affordable].min(0) > 0.5

    @cached_property
    def reference_motions(self) -> ReferenceMotions:
        """Motions: from the frame that shows the character best to every frame."""
        weights = frame_weights(self.canvas_frames)
        index = reference_frame(self.coverage, weights)
        motions, confidences = self.estimate_motions([(index, k) for k in range(self.clip.count)], once=True)
        return ReferenceMotions(index=index, motions=motions, weights=weights * confidences)

    @cached_property
    def translucency(self) -> TranslucencyFit:
        """The character's translucency, and the background as it is also seen through the character.

        On plain ground it is not asked for: a background that is the same everywhere cannot tell glass from shading.
        Nor of a filmed body before what no frame shows: taken for glass, it was in the background as a ghost.
        """
        background = self.visible_background
        several = self.model.T.learned and self.background_stored and self.clip.count >= FEWEST_FRAMES
        guessed = self.is_filmed and not background.seen.all()
        if self.network_only or not several or self.clip.plain or guessed:
            return TranslucencyFit(translucency=None, background=background.picture)
        index = self.reference_motions.index
        frame = self.exposure.remove(self.clip.at(index), index)
        alpha = self._cut(frame, self.to_clip_size(self.coverage[index]), background.picture, background.noise)
        return fit_translucency(self._observations, background.picture, background.seen, alpha)

    def layer(self, index: int, frame: np.ndarray) -> np.ndarray:
        """Cut-out: the character of a frame, premultiplied RGBA.

        Shapes: frame uint8 [H, W, 3] -> [H, W, 4] float32, colour in [0, 255], coverage in [0, 1].
        """
        background = self.exposure.apply(self.background, index)
        alpha = self._cut(frame, self.to_clip_size(self.coverage[index]), background, self.visible_background.noise)
        alpha = self._refined(alpha, frame, background, index)
        alpha = self._cut_by_colour(alpha, frame, background, self.seeds and self.seeds[index])
        alpha = with_strokes(alpha, [stroke.carried(frame, index) for stroke in self._strokes])
        return extract_layer(frame, background, alpha)

    def _refined(self, alpha: np.ndarray, frame: np.ndarray, background: np.ndarray, index: int) -> np.ndarray:
        """A coverage [H, W] of a frame, in the clip's coordinates or as filmed, as translucent as the character is."""
        translucency = self.translucency.translucency
        if translucency is None:
            return alpha
        known = self.reference_motions
        compared = self.exposure.remove(frame, index), self.background, known.motions[index]
        if self.clip.moves:
            compared = frame, background, self.clip.into_filmed(compared[2], index, self.centres[known.index])
        return refine_coverage(translucency, alpha, *compared)

    @cached_property
    def _affordable(self) -> np.ndarray:
        """Indices of the frames that a background is made from."""
        return affordable_frames(self.clip.count, self.clip.size)

    @cached_property
    def _usual_noise(self) -> float:
        """Grey levels of the background's noise, in the mean over its places."""
        return float(np.mean(self.visible_background.noise))

    @cached_property
    def is_filmed(self) -> bool:
        """Whether the clip is filmed, before a background that the model was trained on."""
        return self.background_stored and not self.network_only and is_filmed(self.clip, self.visible_background.noise)

    @cached_property
    def seeds(self) -> Seeds | None:
        """Graph cut: what moves and what stands within the masks; None of a clip whose masks stay as they are."""
        return self._seeds_and_masks[0]

    @cached_property
    def _seeds_and_masks(self) -> tuple[Seeds | None, np.ndarray]:
        """The seeds, and what the graph cut by each frame's own keeps of the masks that a background is made with."""
        background, size = self.visible_background, working_size(self.clip.size, self.clip.count)
        if not self.is_filmed or self.clip.count < FEWEST_FRAMES:
            return None, np.empty((0, *size), bool)
        small = cv2.resize(background.picture, size[::-1], interpolation=cv2.INTER_AREA)
        coverage = lambda index: unfit(self.coverage[index], size, self.canvas)
        found = find_seeds(self._levelled(size), small, coverage, self.clip.count, self._usual_noise)
        seeds, kept = agreed_seeds(self._levelled(size), coverage, found)
        return seeds, kept[self._affordable]

    def _levelled(self, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """All frames at a small size, in the exposure of the background."""
        frames = self.progress(self.clip.smaller(size), "comparing textures", self.clip.count)
        return (self.exposure.remove(frame, index) for index, frame in enumerate(frames))

    # ---- what others ask for

    @cached_property
    def background(self) -> np.ndarray:
        """The background, float32 [H, W, 3] in [0, 255]; in the exposure of an empty scene, where that drifts."""
        found = self.visible_background
        picture = found.picture if found.seen.all() else self.translucency.background
        return inpaint(picture, self.residual) if self.residual.any() else picture

    @cached_property
    def residual(self) -> np.ndarray:
        """Where the frames tell the character itself for the background, bool [H, W]; see `shows_character`.

        Nowhere before a camera that travels: its mosaic is made without whom the camera goes along with.
        """
        if self.seeds is None or self.clip.travels:
            return np.zeros(self.clip.size, bool)
        size, chosen = working_size(self.clip.size, self.clip.count), self._affordable
        frames = [frame for k, frame in enumerate(self.clip.smaller(size)) if k in chosen]
        levelled = np.stack([self.exposure.remove(frame, k) for k, frame in zip(chosen, frames)])
        small = cv2.resize(self.visible_background.picture, size[::-1], interpolation=cv2.INTER_AREA)
        found = shows_character(levelled, self._seeds_and_masks[1], small)
        return cv2.resize(found.astype(np.float32), self.clip.size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5

    @cached_property
    def background_stored(self) -> bool:
        """Whether the model was trained on this background; on any other its masks mean nothing."""
        return background_is_stored(self.model, self.canvas_frames[evenly_spaced(self.clip.count, PROBES)])

    @property
    def filmed(self) -> Clip:
        """The clip as it was filmed."""
        return self.clip.filmed

    @property
    def at_canvas_size(self) -> bool:
        """Whether the networks see the clip pixel by pixel, and f's map can take a cut-out."""
        return self.clip.size == self.canvas == self.filmed.size and self.model.f.takes_layer

    def prepare(self) -> None:
        """Run all stages before the cut-out, which can then be called in threads.

        They show their own progress, so call it outside of a loop that does.
        """
        _ = self.background, self.casts_shadow, self.seeds, self.translucency

    def frames(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Index, frame and layer of every frame in turn."""
        self.prepare()
        for index, frame in enumerate(self.progress(self.clip.native(), "cutting it out", self.clip.count)):
            yield index, frame, self.layer(index, frame)

    def layer_as_filmed(self, index: int, frame: np.ndarray) -> np.ndarray:
        """As `layer`, of a frame as it was filmed and from that frame's own pixels."""
        if not self.clip.moves:
            return self.layer(index, frame)
        alpha, background, seeds = self._parts_as_filmed(index, frame)
        alpha = self._cut_by_colour(self._refined(alpha, frame, background, index), frame, background, seeds)
        carried = [stroke.carried(self.clip.at(index), index) for stroke in self._strokes]
        alpha = with_strokes(alpha, [self.clip.as_filmed(stroke, index) for stroke in carried])
        return extract_layer(frame, background, alpha)

    def _parts_as_filmed(self, index: int, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, Seeds | None]:
        """Of a frame as it was filmed: the coverage before the graph cut, the background and the seeds."""
        return self._last_parts.of(frame, lambda frame: self._make_parts(index, frame))

    def _make_parts(self, index: int, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, Seeds | None]:
        noise = self.visible_background.noise
        noise = self.clip.as_filmed(np.minimum(noise, 255), index) if isinstance(noise, np.ndarray) else noise
        coverage = self.clip.as_filmed(self.to_clip_size(self.coverage[index]), index)
        background = self.background_as_filmed(index)
        return self._cut(frame, coverage, background, noise), background, self._seeds_as_filmed(index)

    def _seeds_as_filmed(self, index: int) -> Seeds | None:
        if self.seeds is None:
            return None
        seeds = self.seeds[index].at_size(self.clip.size)
        moving, standing = (self.clip.as_filmed(known, index) for known in (seeds.moving, seeds.standing))
        return Seeds(moving=moving, standing=standing)

    def _cut_by_colour(
        self, alpha: np.ndarray, frame: np.ndarray, background: np.ndarray, seeds: Seeds | None
    ) -> np.ndarray:
        """A coverage after the graph cut, which cut-out and shadow share where the character is opaque.

        Without soft shadows, first: on a plain wall neither colour nor texture tells them from a grey body.
        """
        if seeds is None:
            return alpha
        lit = lambda alpha: self._without_soft_shadow(alpha, frame, background)
        return self._last_cut.of(alpha, lambda alpha: cut_alpha(frame, lit(alpha), seeds))

    def _without_soft_shadow(self, alpha: np.ndarray, frame: np.ndarray, background: np.ndarray) -> np.ndarray:
        if not self._softly_shaded:
            return alpha
        return np.where(darkening(frame, background, alpha, self._usual_noise) > 0, 0, alpha)

    @cached_property
    def _softly_shaded(self) -> bool:
        """Whether some frames show a soft shadow, as their character comes near a wall."""
        chosen = self._affordable[evenly_spaced(len(self._affordable), 2 * PROBES)]
        return self._has_soft_shadow(chosen, AT_TIMES)

    @cached_property
    def _strokes(self) -> list[Stroke]:
        """What was painted, at the clip's own size and in its coordinates."""
        return [self.stroke(correction) for correction in self.corrections]

    @cached_property
    def _canvas_strokes(self) -> list[Stroke]:
        size = self.clip.size, self.canvas
        on_canvas = lambda stroke: None if stroke.motions is None else motion_to_canvas(stroke.motions, *size)
        return [
            stroke.on_canvas(self.canvas, self.canvas_frames[stroke.index], on_canvas(stroke))
            for stroke in self._strokes
        ]

    def stroke(self, correction: Correction) -> Stroke:
        """A correction at the clip's own size, in its coordinates, with the character's motions to every frame."""
        index = correction.frame
        return Stroke(
            picture=self.in_view(correction.picture, index),
            frame=self.clip.at(index),
            index=index,
            motions=self.motions_from(index) if correction.moves else None,
            reach=self.reach,
        )

    @property
    def reach(self) -> int:
        """Pixels by which the character's motions may be wrong: half a cell, and a pixel at least."""
        return int(np.ceil(max(1.0, self.clip.size[0] / self.canvas[0]) / 2))

    def in_view(self, picture: np.ndarray, index: int) -> np.ndarray:
        """A picture with values in [0, 1] of a frame as filmed, in the clip's coordinates."""
        if not self.clip.moves:
            return picture
        return np.clip(move(picture, self.clip.view.from_frame[index], self.clip.size), 0, 1)

    def motions_from(self, index: int) -> np.ndarray:
        """The motion from a frame to every frame, [T, 2, 3], in the clip's coordinates."""
        if self.model.T.learned:
            return self.estimate_motions([(index, k) for k in range(self.clip.count)]).motions
        chain = chained(self.clip.motion())
        return (chain @ np.linalg.inv(chain[index]))[:, :2]

    @cached_property
    def casts_shadow(self) -> bool:
        """Whether the character casts a shadow on the background; most of the frames have to show it."""
        if self.network_only or not self.background_stored or self.clip.count < FEWEST_FRAMES:
            return False
        chosen = self._affordable[evenly_spaced(len(self._affordable), PROBES)]
        if self.seeds is None:
            return self._has_soft_shadow(chosen, OFTEN)
        frames = zip(chosen, self.filmed.sampled(chosen))
        return is_usual([bool(self._ground_shadow(index, frame).any()) for index, frame in frames], OFTEN)

    def _has_soft_shadow(self, chosen: np.ndarray, share: float) -> bool:
        """Whether so large a share of some frames shows one."""
        background = self.visible_background
        picture = fit(background.picture.clip(0, 255).round().astype(np.uint8), self.canvas).astype(np.float32)
        noise = self._usual_noise
        frames = np.stack([self.exposure.remove(self.canvas_frames[k], k) for k in chosen])
        joined = np.stack([_joined(x, picture, mask, noise) for x, mask in zip(frames, self.coverage[chosen])])
        return has_shadow(frames, picture, joined, noise, share)

    def shadow_as_filmed(self, index: int, frame: np.ndarray) -> np.ndarray:
        """The shadow in a frame as it was filmed: premultiplied RGBA [H, W, 4], black, alpha is the darkening."""
        layer = np.zeros((*frame.shape[:2], 4), np.float32)
        if self.casts_shadow and self.seeds is not None:
            layer[..., 3] = self._ground_shadow(index, frame)
        elif self.casts_shadow:
            coverage = self.clip.as_filmed(self.to_clip_size(self.coverage[index]), index)
            layer[..., 3] = _shadow_at(frame, self.background_as_filmed(index), coverage, self._usual_noise)
        return layer

    def _ground_shadow(self, index: int, frame: np.ndarray) -> np.ndarray:
        """How dark the ground is that a graph cut takes out of the mask of a frame as it was filmed: [H, W]."""
        alpha, background, seeds = self._parts_as_filmed(index, frame)
        if seeds is None:
            return np.zeros_like(alpha)
        return ground_darkening(frame, background, alpha, self._cut_by_colour(alpha, frame, background, seeds))

    def taken_out(self, index: int, frame: np.ndarray, picture: np.ndarray) -> list[np.ndarray]:
        """What goes from a frame as filmed with the character, by its cut-out `picture`: also the shadow that it casts.

        Of a filmed clip that is all that differs and joins it, its shadow as far as it goes: a rim of the character
        would be seen more than a place where the background is another picture of the same.

        Shapes: premultiplied RGBA [H, W, 4].
        """
        if self.seeds is None:
            return [picture, self.shadow_as_filmed(index, frame)] if self.casts_shadow else [picture]
        alpha, background, _ = self._parts_as_filmed(index, frame)
        joined = _joined(frame, background, alpha, self._usual_noise)
        return [extract_layer(frame, background, np.maximum.reduce([joined, alpha, picture[..., 3]]))]

    def background_as_filmed(self, index: int) -> np.ndarray:
        """The background as a frame shows it that was filmed, float32 [H, W, 3] in [0, 255]."""
        return self.clip.colours_as_filmed(self.exposure.apply(self.background, index), index)

    @cached_property
    def motion(self) -> np.ndarray:
        """Forward motion of each step, [T - 1, 2, 3], in the clip's coordinates: estimated, or given if 'known'.

        The estimates, in meetings those of the tracker, are aligned on small frames, and smoothed over time: on
        the ground, or on screen where that is smoother, as one does whom the camera goes along with.
        """
        if not self.model.T.learned:
            return self.clip.motion()
        motions, shown = self._step_motions(), self.coverage.max((1, 2)) > 0.5
        motions = bridge_motions(motions, self.centres, self._visible, self.clip.size)
        smooth = smooth_motions(motions, self.centres, self._radius, shown, self.clip.size)
        if not self.clip.moves:
            return smooth.motions
        heights, at = self.clip.heights, self.clip.places_as_filmed(self.centres)
        motions = self.clip.motion_as_filmed(motions, self.centres[:-1])
        on_screen = smooth_motions(motions, at, self._radius * heights, shown, self.filmed.size)
        if smooth.roughness * heights <= on_screen.roughness:
            return smooth.motions
        return self.clip.motion_in_view(on_screen.motions, at[:-1])

    @cached_property
    def _areas(self) -> np.ndarray:
        """Pixels of the canvas that the character covers in each frame, [T]."""
        return np.count_nonzero(self.coverage > 0.5, axis=(1, 2))

    @property
    def _visible(self) -> np.ndarray:
        """The share of the character that each frame shows, [T]: below 1 where it meets others, which may hide it."""
        areas, tracked = self._areas, self.clip.tracked_motion
        met = np.zeros(self.clip.count, bool)
        if tracked is not None:
            steps = ~np.isnan(tracked[:, 0, 0])
            met[:-1] |= steps
            met[1:] |= steps
        alone = np.flatnonzero(~met & (areas > 0))
        if not len(alone):
            return np.ones(len(areas))
        whole = np.interp(np.arange(len(areas)), alone, areas[alone])
        return np.where(met, areas / np.maximum(whole, 1), 1)

    @property
    def _radius(self) -> float:
        """Of a disc as large as the character usually is, in half heights of the frame."""
        areas = self._areas
        usual = np.median(areas[areas > 0]) if areas.any() else 1.0
        return float(np.sqrt(usual / np.pi) * 2 / fit_box(self.clip.size, self.canvas)[2])

    def _step_motions(self) -> np.ndarray:
        """The motion of each step as its two frames alone tell it, [T - 1, 2, 3]; in meetings as the tracker does."""
        estimated = self.estimate_motions([(k, k + 1) for k in range(self.clip.count - 1)], once=True).motions
        tracked = self.clip.tracked_motion
        start = estimated if tracked is None else np.where(np.isnan(tracked), estimated, tracked)
        if self.network_only:
            return self._aligned(start, network_pictures(self.model, self.canvas_frames), self.coverage)
        if not self.background_stored:
            return start
        frames = self.progress(self.clip.smaller(), "aligning its motion", self.clip.count)
        return self._aligned(start, frames, self.coverage)

    def _aligned(self, motions: np.ndarray, frames: Iterable[np.ndarray], coverage: Iterable[np.ndarray]) -> np.ndarray:
        """Motions between frames in turn, aligned; those on the canvas's own size are mostly exact already."""
        least_gain = LEAST_GAIN if self.clip.size == self.canvas else 0.0
        with_mask = lambda frame, mask: (frame, unfit(mask, frame.shape[:2], self.canvas))
        return refine_motions(map(with_mask, frames, coverage), motions, least_gain)

    def align_motions(self, indices: Sequence[int]) -> np.ndarray:
        """Motions [N - 1, 2, 3] from each of N frames, by index, to the next of them: estimated, and aligned."""
        estimated = self.estimate_motions(list(itertools.pairwise(indices))).motions
        if self.network_only or not self.background_stored:
            return estimated
        return self._aligned(estimated, map(self.clip.at, indices), self.coverage[list(indices)])

    def estimate_motions(self, pairs: list[tuple[int, int]], *, once: bool = False) -> MotionEstimates:
        """Motions [N, 2, 3] in the clip's coordinates and confidences [N] between pairs of frames, by index.

        Args:
            pairs: of indices.
            once: see `eqvid_tf.separation.motions.estimate_motions`.
        """
        motions, confidences = estimate_motions(self.model, self.canvas_frames, pairs, name=self.name, once=once)
        return MotionEstimates(motion_from_canvas(motions, self.clip.size, self.canvas), confidences)

    @cached_property
    def centres(self) -> np.ndarray:
        """The centroid of the character in each frame, by its coverage, in the clip's coordinates: [T, 2]."""
        clip_from_canvas = np.linalg.inv(canvas_from_clip(self.clip.size, self.canvas))
        return carry(clip_from_canvas, mask_centroid(self.coverage))

    @property
    def motion_as_filmed(self) -> np.ndarray:
        """`motion` between the frames as they were filmed, [T - 1, 2, 3]."""
        return self.clip.motion_as_filmed(self.motion, self.centres[:-1])

    def to_clip_size(self, picture: np.ndarray) -> np.ndarray:
        """Bring a picture from the canvas to the clip's own size."""
        return unfit(picture, self.clip.size, self.canvas)

    def _levelled_frames(self, chosen: np.ndarray) -> LevelledFrames:
        """Some frames in the exposure of the background."""
        frames = self.progress(self.clip.sampled(chosen), "making the background", len(chosen))
        return LevelledFrames(frames=list(frames), indices=chosen, exposure=self.exposure)

    def _observations(self) -> Iterator[Observation]:
        motions, chosen = self.reference_motions, self._affordable
        frames = made_ahead(self.progress(self.clip.sampled(chosen), "comparing the frames", len(chosen)))
        for frame, index in zip(frames, chosen):
            levelled, weight = self.exposure.remove(frame, index), motions.weights[index]
            motion, hidden = motions.motions[index], self.clip.hidden(index)
            yield Observation(frame=levelled, motion=motion, weight=weight, hidden=hidden)

    def _cut(
        self, frame: np.ndarray, coverage: np.ndarray, background: np.ndarray, noise: float | np.ndarray
    ) -> np.ndarray:
        """The coverage [H, W] of a frame by its own edges, without a soft shadow."""
        if self.network_only:
            return coverage
        cell = max(1.0, self.clip.size[0] / self.canvas[0])
        alpha = edge_coverage(frame, background, coverage, noise=noise, cell=cell, sways=self.clip.moves)
        if self.seeds is not None or not self.casts_shadow:
            return alpha
        return np.where(_shadow_at(frame, background, coverage, noise) > 0, 0, alpha)


def _shadow_at(
    frame: np.ndarray, background: np.ndarray, coverage: np.ndarray, noise: float | np.ndarray
) -> np.ndarray:
    """The darkening [H, W] of a shadow that touches a coarse coverage [H, W], see `eqvid_tf.separation.shadow`."""
    return darkening(frame, background, _joined(frame, background, coverage, noise), noise)


def _joined(frame: np.ndarray, background: np.ndarray, coverage: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """The coverage [H, W] of all that differs from the background and is connected to a coverage [H, W]."""
    differs = edge_coverage(frame, background, None, noise=noise)
    return np.where(reconstruct(coverage > 0.5, differs > 0), differs, 0)
