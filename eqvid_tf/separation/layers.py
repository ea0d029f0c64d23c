"""A clip's layers at the clip's own size: what the network sees small, cut out of the frames themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import tensorflow as tf

from eqvid_tf.camera.stabilization import StabilizedClip, stabilize
from eqvid_tf.data.clips import Clip
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.canvas import canvas_from_clip, unfit
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.progress import no_progress
from eqvid_tf.separation import background as backgrounds
from eqvid_tf.separation.cutout import cut_out, extract_layer
from eqvid_tf.separation.exposure import apply_exposure, exposure_drift, exposure_trust, remove_exposure
from eqvid_tf.separation.translucency import FAINT, Translucency, fit_translucency, reference_frame, refine_coverage

FEWEST = 8  # frames that can tell more together than one alone
MEMORY = 256 << 20  # bytes of frames that a background is made from


def network_coverage(model, frames: np.ndarray, batch: int = 32, progress: Callable = no_progress) -> np.ndarray:
    """The model's masks of a clip's frames on its canvas.

    Shapes: frames [T, h, w, 3] uint8 -> [T, h, w] uint8, 255 = fully character.
    """
    out = np.empty(frames.shape[:3], np.uint8)
    for start in progress(range(0, len(frames), batch), "finding the character"):
        x = tf.constant(frames[start : start + batch], tf.float32) / 255
        out[start : start + batch] = np.asarray(model.masks(x))[..., 0] * 255 + 0.5
    return out


def estimate_motions(
    model, frames: np.ndarray, pairs: list[tuple[int, int]], batch: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """Motions [N, 2, 3] between pairs of a clip's frames [T, h, w, 3] uint8, by index, and confidences [N]."""
    motions, confidences = [], []
    unit = lambda indices: tf.constant(frames[list(indices)], tf.float32) / 255
    for start in range(0, len(pairs), batch):
        motion, confidence = model.estimates(*map(unit, zip(*pairs[start : start + batch])))
        motions.append(np.asarray(motion, np.float64))
        confidences.append(np.asarray(confidence, np.float64))
    return np.concatenate(motions), np.concatenate(confidences)


class ClipLayers:
    """What a model makes of a whole clip.

    The network sees the clip on its canvas; presence is brought to the clip's own size and refined along the frame's own
    edges against the background, which is the median of the frames in which a place shows. Memory stays bounded: frames are
    read one at a time, and the background from at most `MEMORY` bytes of them.

    Convention: where the camera sways, `clip` is the clip without the sway, and all there is of it, frames, layers, background
        and motions, is in the coordinates of one of its frames (see `eqvid_tf.camera.stabilization`). `filmed` is the clip as it came;
        `own_layer` and `own_background` are as a frame of that sees them.

    Args:
        model: an EquivariantVideoModel; its canvas is where it sees the clip.
        clip: an open clip.
        network_only: nothing but the network's own output, brought to the clip's size: no pixel from the frames, no plate.
        progress: called as progress(items, label, total) around what takes long; gives the items back.
    """

    def __init__(self, model, clip: Clip, *, network_only: bool = False, progress: Callable = no_progress):
        self.model, self.network_only, self.progress = model, network_only, progress
        self.filmed, self.clip, self.canvas = clip, stabilize(clip, progress), model.config.canvas
        self.canvas_frames = self.clip.arrays(self.canvas)

    @property
    def at_canvas_size(self) -> bool:
        """Whether the network sees the clip pixel by pixel, and its maps can take a cut-out."""
        config = self.model.config
        return self.clip.size == self.canvas and config.stride == 1 and config.structure == "partition"

    @cached_property
    def coverage(self) -> np.ndarray:
        """Coverage on the canvas, uint8 [T, h, w]."""
        return network_coverage(self.model, self.canvas_frames, progress=self.progress)

    @cached_property
    def light(self) -> np.ndarray | None:
        """The light of each frame, [2, T, 1, 1, 3], see `eqvid_tf.separation.exposure`; None where it hardly changes."""
        shown = (array[backgrounds.evenly_spaced(self.clip.count)] for array in (self.canvas_frames, self.coverage))
        told = not self.network_only and self.background_stored
        return exposure_drift(self.canvas_frames, backgrounds.median_background(*shown)) if told else None

    @property
    def background(self) -> np.ndarray:
        """The background at the clip's own size, float32 [H, W, 3] in [0, 255]; in the light of an empty scene, where that drifts."""
        return self.still[0] if self.seen.all() else self.told[2]

    @property
    def noise(self) -> float | np.ndarray:
        """Grey levels by which the background differs from frame to frame, see `eqvid_tf.separation.background.background_noise`."""
        return self.still[1]

    @cached_property
    def still(self) -> tuple[np.ndarray, float | np.ndarray]:
        """Background and noise, from one pass over the frames."""
        chosen = backgrounds.evenly_spaced(self.clip.count, self._affordable())
        hidden = self.coverage[chosen].min(0) > 127  # never seen: what the network makes of it
        network = self._decoded(chosen)
        if self.network_only:
            return self.to_clip_size(network), 0.0
        native = self.progress(self.clip.native(), "making the background", self.clip.count)
        frames = np.stack([self._levelled(frame, i) for i, frame in enumerate(native) if i in chosen])
        away = np.stack([self.to_clip_size(self.coverage[i]) for i in chosen]) if self.background_stored else None
        seen = backgrounds.median_background(
            frames, away, 1.0 if self.light is None else exposure_trust(self.light[:, chosen])
        )
        noise = backgrounds.background_noise(frames, seen, away)
        if self.background_stored and hidden.any():
            seen += self.to_clip_size(hidden.astype(np.float32))[..., None] * (self.to_clip_size(network) - seen)
        return seen, noise

    @cached_property
    def seen(self) -> np.ndarray:
        """Where the background is seen clearly in some frame, [H, W]."""
        return self.to_clip_size(self.coverage[backgrounds.evenly_spaced(self.clip.count)].min(0)) < FAINT

    @cached_property
    def background_stored(self) -> bool:
        """Whether the model was trained on this background; on any other its masks mean nothing."""
        x = tf.constant(self.canvas_frames[backgrounds.evenly_spaced(self.clip.count, 8)], tf.float32) / 255
        return float(np.median(np.asarray(self.model.remembers(x)))) > 0.5

    def _affordable(self) -> int:
        height, width = self.clip.size
        return int(np.clip(MEMORY // (height * width * 3), 12, backgrounds.MOST_FRAMES))

    def _decoded(self, chosen: np.ndarray) -> np.ndarray:
        """The network's background, the median over some frames: float32 [h, w, 3] in [0, 255]."""
        x = tf.constant(self.canvas_frames[chosen[:: max(1, len(chosen) // 16)]], tf.float32) / 255
        return np.median(np.asarray(self.model.separate(x)[1]), axis=0).astype(np.float32) * 255

    def to_clip_size(self, array: np.ndarray) -> np.ndarray:
        """From the canvas to the clip's own size."""
        return unfit(array, self.clip.size, self.canvas)

    @cached_property
    def told(self) -> tuple[Translucency | None, np.ndarray, np.ndarray]:
        """What all frames tell of the character's coverage, if anything; the motion to each from the one it is told of; and the
        background, as it shows through the character where it was never seen otherwise.
        """
        background, noise = self.still
        if self.network_only or not self.model.T.learned or not self.background_stored or self.clip.count < FEWEST:
            return None, np.empty(0), background
        best, weights = reference_frame(self.canvas_frames, self.coverage)
        motions, confidences = self.estimate_motions([(best, index) for index in range(self.clip.count)])
        chosen = set(backgrounds.evenly_spaced(self.clip.count).tolist())
        alpha = self._cut(
            self._levelled(self.clip.at(best), best), self.to_clip_size(self.coverage[best]), background, noise
        )[..., 3]
        frames = lambda: (
            (self._levelled(frame, i), motions[i], weights[i] * confidences[i])
            for i, frame in enumerate(
                self.progress(self.clip.native(), "weighing what the frames tell", self.clip.count)
            )
            if i in chosen
        )
        evidence, background = fit_translucency(frames, background, self.seen, alpha)
        return evidence, motions, background

    def prepare(self) -> None:
        """Makes what `layer` cuts out with. It shows its own progress, so not within a loop over frames that shows that, too."""
        if not self.network_only:
            _ = self.background, self.told

    def _levelled(self, frame: np.ndarray, index: int) -> np.ndarray:
        """A frame in the light of the background, uint8 [H, W, 3]."""
        return (
            frame
            if self.light is None
            else np.clip(remove_exposure(frame, self.light[:, index]) + 0.5, 0, 255).astype(np.uint8)
        )

    def _lit(self, index: int) -> np.ndarray:
        """The background in the light of a frame."""
        return (
            self.background
            if self.light is None
            else np.clip(apply_exposure(self.background, self.light[:, index]), 0, 255)
        )

    def layer(self, index: int, frame: np.ndarray) -> np.ndarray:
        """The character of a frame: premultiplied RGBA [H, W, 4] float32, colour in [0, 255], coverage in [0, 1]."""
        background = self._lit(index)
        layer, (evidence, motions, _) = (
            self._cut(frame, self.to_clip_size(self.coverage[index]), background, self.noise),
            self.told,
        )
        if evidence is None:
            return layer
        return extract_layer(
            frame,
            background,
            refine_coverage(evidence, layer[..., 3], self._levelled(frame, index), self.background, motions[index]),
        )

    def layer_as_filmed(self, index: int, frame: np.ndarray) -> np.ndarray:
        """The same of a frame of the clip as it was filmed, from that frame's own pixels."""
        if self.clip is self.filmed:
            return self.layer(index, frame)
        noise = self.noise if np.isscalar(self.noise) else self._own(np.minimum(self.noise, 255), index)
        return self._cut(
            frame, self._own(self.to_clip_size(self.coverage[index]), index), self.background_as_filmed(index), noise
        )

    def background_as_filmed(self, index: int) -> np.ndarray:
        """The background as a frame of the clip as it was filmed sees it, float32 [H, W, 3] in [0, 255]."""
        return self._own(self._lit(index), index)

    def _own(self, picture: np.ndarray, index: int) -> np.ndarray:
        return self.clip.own(picture, index) if isinstance(self.clip, StabilizedClip) else picture

    def _cut(self, frame: np.ndarray, presence: np.ndarray, background: np.ndarray, noise) -> np.ndarray:
        if self.network_only:
            return extract_layer(frame, background, presence / np.float32(255))
        cell, sways = max(1.0, self.clip.size[0] / self.canvas[0]), self.clip is not self.filmed
        return cut_out(frame, background, presence / np.float32(255), noise=noise, cell=cell, sways=sways)

    def frames(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Index, frame and layer of every frame in turn."""
        self.prepare()
        for index, frame in enumerate(self.progress(self.clip.native(), "cutting it out", self.clip.count)):
            yield index, frame, self.layer(index, frame)

    @cached_property
    def motion(self) -> np.ndarray:
        """Forward motion of each step, [T - 1, 2, 3], in the clip's own coordinates: estimated, or given if 'known'."""
        if not self.model.T.learned:
            return self.clip.motion()
        pairs = [(i, i + 1) for i in range(self.clip.count - 1)]
        return self.estimate_motions(pairs)[0]

    def estimate_motions(self, pairs: list[tuple[int, int]], batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Motions [N, 2, 3] in the clip's coordinates and confidences [N] between pairs of frames, by index."""
        motions, confidences = estimate_motions(self.model, self.canvas_frames, pairs, batch)
        return motion_from_canvas(motions, self.clip.size, self.canvas), confidences


def motion_from_canvas(motion: np.ndarray, size: tuple[int, int], canvas: tuple[int, int]) -> np.ndarray:
    """Motions [..., 2, 3] in canvas coordinates as motions in the clip's own."""
    there = canvas_from_clip(size, canvas)
    return (np.linalg.inv(there) @ homogeneous(motion) @ there)[..., :2, :]


def straight_alpha(layer: np.ndarray) -> np.ndarray:
    """Premultiplied RGBA as uint8 RGBA with straight alpha."""
    alpha = layer[..., 3:]
    colour = np.where(alpha > 1e-3, layer[..., :3] / np.maximum(alpha, 1e-3), 0)
    return (np.clip(np.concatenate([colour, alpha * 255], -1), 0, 255) + 0.5).astype(np.uint8)


def write_layers(layers: ClipLayers, folder: Path) -> None:
    """Writes background.png, masks/, character/ (RGBA) and motion.json of a clip, at its own size, into `folder`.

    Masks, characters and motions are those of the frames as they were filmed; the background, where the camera sways, is as the
    clip's reference frame sees it. There is no motion.json where the estimator is 'known' and the clip has none.
    """
    motion = layers.motion if layers.model.T.learned or layers.clip.has_motion else None  # first: it may be at fault
    for name in ("masks", "character"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_png(folder / "background.png", np.clip(layers.background, 0, 255).round().astype(np.uint8))
    if layers.clip is layers.filmed:
        layers.prepare()
    for index, frame in enumerate(layers.progress(layers.filmed.native(), "cutting it out", layers.filmed.count)):
        character = straight_alpha(layers.layer_as_filmed(index, frame))
        write_png(folder / "masks" / f"{index:05d}.png", character[..., 3])
        write_png(folder / "character" / f"{index:05d}.png", character)
    if motion is not None:
        motion = layers.clip.own_motion(motion) if isinstance(layers.clip, StabilizedClip) else motion
        found = {"size": list(layers.clip.size), "fps": layers.clip.fps, "motion": motion.tolist()}
        (folder / "motion.json").write_text(json.dumps(found), encoding="utf-8")
