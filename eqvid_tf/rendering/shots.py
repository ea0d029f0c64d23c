"""New pictures from trained layers: shots, each a character from one frame, a background from another and a motion."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from eqvid_tf.data.clips import ClipError, open_clip, read_image
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.canvas import canvas_from_clip, fit, unfit
from eqvid_tf.pixels.coordinates import centroid, homogeneous, target_from_source
from eqvid_tf.pixels.resampling import move, over
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.texture import Textures


class ShotError(ValueError):
    """A shot that cannot be taken: one line, with its name."""


class StillClip:
    """A single picture as a clip of one frame, where a shot names a picture that belongs to no clip."""

    fps = 25.0
    count = 1

    def __init__(self, path: Path):
        self.path, self.name, self.frame = path, path.stem, read_image(path)
        self.size = self.frame.shape[:2]

    def native(self):
        yield self.frame

    def at(self, index: int) -> np.ndarray:
        return self.frame

    def arrays(self, canvas) -> np.ndarray:
        return fit(self.frame, canvas)[None]


class FrameFinder:
    """Finds frames by path: the clip each belongs to (the folder it lies in), its index there, and that clip's layers.

    A clip is opened, and its layers made, once.
    """

    def __init__(self, model, *, network_only: bool = False, cache="auto"):
        self.model, self.network_only, self.cache = model, network_only, cache
        self.clip, self.still, self.textures = map(functools.cache, (self._clip, self._still, Textures))

    def find(self, path: Path) -> tuple[ClipLayers, int]:
        path = path.parent.resolve() / path.name  # a link to a frame stays in the clip that it lies in
        layers, names = self.clip(path.parent)
        return (layers, names.index(path.name)) if path.name in names else (self.still(path), 0)

    def _clip(self, folder: Path) -> tuple[ClipLayers | None, list[str]]:
        """The layers of a folder of frames, and their names; none where its pictures are no clip."""
        if (folder / "frames").is_dir():  # a scene: the pictures beside its clip are not of it
            return None, []
        try:
            clip = open_clip(folder, cache=self.cache)
        except ClipError:
            return None, []
        names = [file.name for file in in_name_order(folder)]
        return ClipLayers(self.model, clip, network_only=self.network_only), names

    def _still(self, path: Path) -> ClipLayers:
        return ClipLayers(self.model, StillClip(path), network_only=self.network_only)


def read_shots(path: str | Path) -> list[dict]:
    """The shots of a file, checked: names, keys, motions finite and invertible.

    Raises: ShotError.
    """
    if not Path(path).is_file():
        raise ShotError(f"{path}: there is no such file. Check the path.")
    try:
        shots = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShotError(f"{path}: this is not a JSON file that can be read ({error})") from error
    if not isinstance(shots, list) or not all(isinstance(shot, dict) for shot in shots):
        raise ShotError(f"{path}: expected a list of shots, each a JSON object")
    for number, shot in enumerate(shots):
        if problem := _problem(shot):
            raise ShotError(f"{path}: shot {shot.get('name', number)!r}: {problem}")
    names = [shot["name"] for shot in shots]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ShotError(f"{path}: two shots are named {twice[0]!r}")
    return shots


def frames_of(shot: dict) -> tuple[str, ...]:
    """The frames that a shot names, as it names them."""
    return shot["character"], shot["background"], *shot.get("motion_from", ())


def _problem(shot: dict) -> str | None:
    """What is wrong with a shot, or None."""
    for key in ("name", "character", "background"):
        if not isinstance(shot.get(key), str) or not shot[key]:
            return f"{key} must be a name; received {shot.get(key)!r}"
    if shot["name"] != Path(shot["name"]).name or shot["name"] in (".", "..") or not shot["name"].isprintable():
        return "name must be a file's name, without folders"
    if unknown := set(shot) - {"name", "character", "background", "motion", "motion_from", "about"}:
        return f"unknown key {min(unknown)!r}"
    if ("motion" in shot) == ("motion_from" in shot):
        return "give either motion or motion_from"
    if shot.get("about", "frame") not in ("frame", "character"):
        return f'about must be "frame" or "character"; received {shot["about"]!r}'
    if "motion_from" in shot:
        two = shot["motion_from"]
        good = isinstance(two, list) and len(two) == 2 and all(isinstance(path, str) for path in two)
        return None if good else "motion_from must be [frame, later frame]"
    try:
        motion = np.array(shot["motion"], np.float64)
    except (TypeError, ValueError):
        motion = np.empty(0)
    if motion.shape != (2, 3) or not np.isfinite(motion).all() or abs(np.linalg.det(motion[:, :2])) < 1e-6:
        return f"motion must be a finite 2x3 matrix that can be inverted; received {shot['motion']!r}"
    return None


def render_shots(
    model,
    path: str | Path,
    folder: Path,
    *,
    given_only: bool = False,
    network_only: bool = False,
    cache="auto",
    progress: Callable = no_progress,
) -> None:
    """Writes folder/NAME.png for each shot of a file, at the size of its background frame.

    Args:
        given_only: leave out the shots whose motion would have to be estimated.
    Raises: ShotError, before anything is drawn, where a shot names a frame that is not there.
    """
    shots, root = read_shots(path), Path(path).parent
    if given_only:
        shots = [shot for shot in shots if "motion" in shot]
    for shot in shots:
        for name in frames_of(shot):
            if not (root / name).is_file():
                raise ShotError(f"{path}: shot {shot['name']!r}: there is no frame {root / name}")
    if not model.T.learned and any("motion_from" in shot for shot in shots):
        raise ShotError(
            "this model was trained with the 'known' estimator and cannot take a motion_from; "
            "train with --estimator features, or give each shot its motion"
        )
    frames = FrameFinder(model, network_only=network_only, cache=cache)
    for shot in progress(shots, "rendering"):
        write_png(folder / f"{shot['name']}.png", render_shot(frames, shot, root))


def render_shot(frames: FrameFinder, shot: dict, root: Path) -> np.ndarray:
    """One shot, uint8 [H, W, 3].

    Why: where the networks see the clip at its own size, its frames are small, and tell more together than the one that is named (see
    `eqvid_tf.separation.texture`). There g draws the cut-out, too, and counts as one frame more, for it errs elsewhere. Of larger clips the
    frame's own pixels are moved.
    """
    character, index = frames.find(root / shot["character"])
    background, behind = frames.find(root / shot["background"])
    frame = character.filmed.at(index)
    layer = character.layer_as_filmed(index, frame)
    motion = shot_motion(frames, shot, root, character, layer)
    target = target_from_source(character.clip.size, background.clip.size) @ homogeneous(motion)
    if frames.network_only:
        return decode_with_networks(frames.model, frame, background.filmed.at(behind), target)
    plate = background.background_as_filmed(behind)
    if not character.at_canvas_size:
        return over(move(layer, target, background.clip.size), plate)
    moved, told = frames.textures(character).of(index).shown(target, background.clip.size)
    laid = over(moved, plate)
    if character.clip.size == background.clip.size:
        laid = (
            ((told * laid + draw_with_renderer(frames.model, frame, layer, plate, target)) / (told + 1))
            .round()
            .astype(np.uint8)
        )
    return laid


def shot_motion(frames: FrameFinder, shot: dict, root: Path, character: ClipLayers, layer: np.ndarray) -> np.ndarray:
    """The forward motion [2, 3] of a shot in the character's frame: given, or estimated from two frames."""
    if "motion" in shot:
        motion, source, start = np.array(shot["motion"], np.float64), character.clip.size, (0, 0)
    else:
        (clip, first), (other, second) = (frames.find(root / name) for name in shot["motion_from"])
        if clip is not other:
            raise ShotError(f"shot {shot['name']!r}: the frames of motion_from belong to two clips")
        motion, source = clip.estimate_motions([(first, second)])[0][0], clip.clip.size
        start = centroid(clip.layer(first, clip.clip.at(first)))
    there = target_from_source(source, character.clip.size)
    square = there @ homogeneous(motion) @ np.linalg.inv(there)
    if shot.get("about") == "character":
        start = there[:2, :2] @ start if "motion_from" in shot else (0, 0)
        away = np.eye(3)
        away[:2, 2] = centroid(layer) - np.asarray(start)
        square = away @ square @ np.linalg.inv(away)
    return square[:2]


def draw_with_renderer(
    model, frame: np.ndarray, layer: np.ndarray, background: np.ndarray, motion: np.ndarray
) -> np.ndarray:
    """G on the cut-out and the plate, at the size of the canvas: [h, w, 3] uint8."""
    unit = lambda picture: tf.constant(picture[None] / np.float32(255), tf.float32)
    cut = np.concatenate([layer[..., :3] / np.float32(255), layer[..., 3:]], -1)
    character = model.f.replace_layer(model.f(unit(frame)), tf.constant(cut[None], tf.float32))
    out = model.render_features(character, model.h(unit(background)), tf.constant(motion[None, :2], tf.float32))
    return (np.asarray(out)[0] * 255).round().astype(np.uint8)


def decode_with_networks(model, frame: np.ndarray, background: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """g(T f(x) + h(x')) alone, at the size of the background frame, uint8.

    Shapes: frame, background uint8 [., ., 3]; motion [3, 3], from the frame's coordinates to the background's.
    """
    size, canvas = background.shape[:2], model.config.canvas
    bring = target_from_source(frame.shape[:2], size)
    if frame.shape[:2] != size:
        frame = np.clip(move(frame, bring, size), 0, 255).astype(np.uint8)
    there = canvas_from_clip(size, canvas)
    motion = there @ motion @ np.linalg.inv(bring) @ np.linalg.inv(there)
    x, behind = (tf.constant(fit(picture, canvas)[None], tf.float32) / 255 for picture in (frame, background))
    out = np.asarray(model.render(x, behind, tf.constant(motion[None, :2], tf.float32)))[0]
    return (np.clip(unfit(out, size, canvas), 0, 1) * 255).round().astype(np.uint8)
