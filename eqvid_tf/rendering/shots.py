"""Shots: single new pictures, each a character from one frame, a background from another, and a motion."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from eqvid_tf.camera.cuts import split_at_cuts
from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import Clip, ClipError, Indices, open_clip
from eqvid_tf.data.images import read_image
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.canvas import canvas_from_clip, fit, unfit
from eqvid_tf.pixels.coordinates import centroid, homogeneous, is_invertible, target_from_source
from eqvid_tf.pixels.resampling import move, over, resize
from eqvid_tf.progress import no_progress
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters, NoSuchCharacter
from eqvid_tf.separation.layers import ClipLayers
from eqvid_tf.separation.masks import FEW
from eqvid_tf.separation.texture import Textures, is_textured

KEYS = {"name", "character", "background", "motion", "motion_from", "about", "point", "motion_point"}
REMOVAL_KEYS = {"name", "frame", "remove"}
AT_A_TIME = 48  # shots whose textures are made together: as many as are held in memory at least
CAST_KEYS = {"name", "background", "layers"}
LAYER_KEYS = KEYS - {"name", "background"}


Point: TypeAlias = tuple[float, float]


class ShotError(ValueError):
    """A shot that cannot be taken: one line, with its name."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One picture to render.

    Attributes:
        name: of the file, without its suffix.
        character: the frame that the character is taken from.
        background: the frame behind it, which gives the picture its size.
        motion: forward [2, 3]; None where it is to be estimated.
        motion_from: the two frames that it is estimated from; empty where it is given.
        about_character: whether the motion acts about the character's centre instead of the frame's.
        point: (x, y), normalized, on the character in its frame; None: the first character of the clip.
        motion_point: the same, on the one whose motion it is, in the first frame of `motion_from`.
    """

    name: str
    character: Path
    background: Path
    motion: np.ndarray | None
    motion_from: tuple[Path, ...]
    about_character: bool
    point: Point | None = None
    motion_point: Point | None = None

    @property
    def frames(self) -> tuple[Path, ...]:
        """Every frame that it needs."""
        return self.character, self.background, *self.motion_from

    @property
    def needs_estimate(self) -> bool:
        """Whether a motion has to be estimated for it."""
        return self.motion is None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Removal:
    """A frame to draw without some of its characters; each is named by a point (x, y), normalized, on it."""

    name: str
    frame: Path
    points: tuple[Point, ...]

    needs_estimate = False

    @property
    def frames(self) -> tuple[Path, ...]:
        """Every frame that it needs."""
        return (self.frame,)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """One picture of several characters; the layers are shots of one each, from the back to the front."""

    name: str
    background: Path
    layers: tuple[Shot, ...]

    @property
    def frames(self) -> tuple[Path, ...]:
        """Every frame that it needs."""
        return tuple(frame for layer in self.layers for frame in layer.frames)

    @property
    def needs_estimate(self) -> bool:
        """Whether a motion has to be estimated for it."""
        return any(layer.needs_estimate for layer in self.layers)


class StillClip(Clip):
    """A single picture as a clip of one frame, where a shot names a picture that belongs to no clip."""

    def __init__(self, path: Path):
        self.path, self.name, self.frame = path, path.stem, read_image(path)
        self.size, self.fps, self.count = self.frame.shape[:2], 25.0, 1

    def resized(self, size: tuple[int, int], indices: Indices | None = None) -> Iterator[np.ndarray]:
        """The picture, brought to a size, whichever index is asked for."""
        yield resize(self.frame, size)

    def at(self, index: int) -> np.ndarray:
        """The picture."""
        return self.frame

    def arrays(self, canvas: tuple[int, int]) -> np.ndarray:
        """The picture fitted on the canvas, uint8 [1, *canvas, 3]."""
        return fit(self.frame, canvas)[None]


class FrameFinder:
    """Finds frames by path: the layers of the clip that each belongs to (the folder it lies in), and its index there.

    A clip is opened, and its layers made, once. With `shadow` a character is drawn with its shadow.

    Attributes:
        clip: gives the characters of a whole clip, by the path that `open_clip` takes.
        draw: g over a background, from a frame and its cut-out on the canvas, [1, h, w, c], and a motion [1, 2, 3].
    """

    def __init__(
        self,
        model: EquivariantVideoModel,
        *,
        cast: Cast | None = None,
        network_only: bool = False,
        shadow: bool = False,
        cache: str | Path | None = "auto",
        progress: Callable = no_progress,
    ):
        self.model, self.cast, self.network_only, self.cache = model, cast, network_only, cache
        self.shadow, self.progress = shadow, progress
        self.clip = functools.cache(self._open_clip)
        self.textures = functools.cache(Textures)
        self._parts, self._still = functools.cache(self._open_parts), functools.cache(self._open_still)
        self._characters = functools.cache(self._characters_of)
        self.draw: Callable[..., tf.Tensor] = self._draw

    def expect_many(self) -> None:
        """Draw in a graph of the networks from now on: of so many shots that it is worth the time to make it."""
        self.draw = tf.function(self._draw, autograph=False, reduce_retracing=True)

    def _draw(self, frame: tf.Tensor, cutout: tf.Tensor, background: tf.Tensor, motion: tf.Tensor) -> tf.Tensor:
        features = self.model.f.replace_layer(self.model.f(frame), cutout)
        return self.model.render_features(features, self.model.h(background), motion)

    def find(self, path: Path) -> tuple[ClipCharacters, int]:
        """The characters of the frame's clip, and its index; of a clip of its own, where its folder is none."""
        path = path.parent.resolve() / path.name  # a link to a frame stays in the clip that it lies in
        for clip, names in self._parts(path.parent):
            if path.name in names:
                return self._characters(clip), names.index(path.name)
        return self._still(path), 0

    def find_character(self, path: Path, point: Point | None) -> tuple[ClipLayers, int]:
        """The layers of the character at a point of a frame, or of the first of its clip, and the frame's index."""
        found, index = self.find(path)
        return found.numbered(None if point is None else found.at_point(index, point)), index

    def _open_parts(self, folder: Path) -> list[tuple[Clip, list[str]]]:
        """The parts of a folder between hard cuts, with the names of their frames; none where it is no clip."""
        if (folder / "frames").is_dir():  # a scene: the pictures beside its clip are not of it
            return []
        try:
            clip = open_clip(folder, cache=self.cache)
        except ClipError:
            return []
        names = [file.name for file in in_name_order(folder)]
        return [(part, names[part.start : part.start + part.count]) for part in split_at_cuts([clip])]

    def _open_clip(self, path: Path) -> ClipCharacters:
        return self._characters(open_clip(path, cache=self.cache))

    def _characters_of(self, clip: Clip) -> ClipCharacters:
        return ClipCharacters(self.model, clip, network_only=self.network_only, cast=self.cast, progress=self.progress)

    def _open_still(self, path: Path) -> ClipCharacters:
        return ClipCharacters(self.model, StillClip(path), network_only=self.network_only)


def render_shots(
    model: EquivariantVideoModel,
    path: str | Path,
    folder: Path,
    *,
    cast: Cast | None = None,
    given_only: bool = False,
    network_only: bool = False,
    shadow: bool = False,
    cache: str | Path | None = "auto",
    progress: Callable = no_progress,
) -> None:
    """Write folder/NAME.png for each shot of a file, at the size of its background frame.

    Args:
        model: a trained model.
        path: of the file, see docs/formats.md; the frames' paths are relative to it.
        folder: gets the pictures.
        cast: of the model, see `ClipCharacters`.
        given_only: leave out the shots whose motion would have to be estimated.
        network_only: from the networks alone, without pixels of the frames.
        shadow: draw each character with the shadow that it casts.
        cache: where decoded frames are kept, see `open_clip`.
        progress: see `ClipLayers`.

    Raises:
        ShotError: before anything is drawn, where a shot is wrong or names a frame that is not there.
    """
    shots = [shot for shot in read_shots(path) if not (shot.needs_estimate and given_only)]
    for shot in shots:
        if missing := [frame for frame in shot.frames if not frame.is_file()]:
            raise ShotError(f"{path}: shot {shot.name!r}: there is no frame {missing[0]}")
    if not model.T.learned and any(shot.needs_estimate for shot in shots):
        raise ShotError(
            "this model was trained with the 'known' estimator and cannot take a motion_from; "
            "train with --estimator features, or give each shot its motion"
        )
    finder = FrameFinder(model, cast=cast, network_only=network_only, shadow=shadow, cache=cache)
    if len(shots) > FEW:
        finder.expect_many()
    for number, shot in enumerate(progress(shots, "rendering")):
        try:
            if number % AT_A_TIME == 0:
                _make_textures(finder, shots[number : number + AT_A_TIME])
            picture = _RENDERERS[type(shot)](finder, shot)
        except NoSuchCharacter as error:
            raise ShotError(f"{path}: shot {shot.name!r}: {error}") from error
        write_png(folder / f"{shot.name}.png", picture)


def _make_textures(finder: FrameFinder, shots: Iterable[Shot | Removal | Ensemble]) -> None:
    """Make the textures of some shots' characters, on all cores; they are found again when a shot is drawn."""
    wanted: dict[ClipLayers, list[int]] = {}
    for shot in itertools.chain.from_iterable(shot.layers if isinstance(shot, Ensemble) else [shot] for shot in shots):
        if isinstance(shot, Shot):
            with contextlib.suppress(NoSuchCharacter):  # it is reported when the shot is drawn
                character, index = finder.find_character(shot.character, shot.point)
                wanted.setdefault(character, []).append(index)
    for character, indices in wanted.items():
        if not finder.network_only and is_textured(character):
            character.prepare()
            finder.textures(character).make(indices)


def render_shot(finder: FrameFinder, shot: Shot) -> np.ndarray:
    """Render one shot, uint8 [H, W, 3].

    Why: the frames of a clip show more together than the one that is named: the character is drawn from its texture
    (see `eqvid_tf.separation.texture`). Where the networks see the clip at its own size, g draws the cut-out, too, and
    counts as one frame more, for its errors are others. Of a very large character the frame's own pixels are moved.
    """
    character, index = finder.find_character(shot.character, shot.point)
    background, background_index = finder.find(shot.background)
    frame, size = character.filmed.at(index), background.clip.filmed.size
    layer = character.layer_as_filmed(index, frame)
    motion = target_from_source(frame.shape[:2], size) @ shot_motion(finder, shot, character, layer)
    if finder.network_only:
        behind = background.first.filmed.at(background_index)
        return render_by_networks(finder.model, frame, behind, motion, character.name)
    behind = _with_shadow(finder, character, index, frame, motion, background.plate(background_index))
    if not is_textured(character):
        return over(move(layer, motion, size), behind)
    moved, support = finder.textures(character).of(index).render(motion, size)
    picture = over(moved, behind)
    if character.filmed.size != size or not character.at_canvas_size:
        return picture
    by_renderer = _draw_with_renderer(finder, frame, layer, behind, motion)
    return ((support * picture + by_renderer) / (support + 1)).round().astype(np.uint8)


def render_ensemble(finder: FrameFinder, ensemble: Ensemble) -> np.ndarray:
    """Render several characters over one background, uint8 [H, W, 3]."""
    background, index = finder.find(ensemble.background)
    size, picture = background.clip.filmed.size, background.plate(index)
    for shot in ensemble.layers:
        character, at = finder.find_character(shot.character, shot.point)
        frame = character.filmed.at(at)
        layer = character.layer_as_filmed(at, frame)
        motion = target_from_source(frame.shape[:2], size) @ shot_motion(finder, shot, character, layer)
        picture = _with_shadow(finder, character, at, frame, motion, picture)
        picture = over(moved_character(finder, character, at, layer, motion, size), picture)
    return picture


def render_removal(finder: FrameFinder, removal: Removal) -> np.ndarray:
    """Render a frame without some of its characters, uint8 [H, W, 3]; what they hid is drawn, all else stays."""
    characters, index = finder.find(removal.frame)
    gone = {characters.at_point(index, point) for point in removal.points}
    return without(finder, characters, index, characters.clip.filmed.at(index), gone)


def without(
    finder: FrameFinder, characters: ClipCharacters, index: int, frame: np.ndarray, gone: Collection[int]
) -> np.ndarray:
    """A frame as filmed, uint8 [H, W, 3], without the characters of some numbers."""
    cut_outs, behind = characters.cut_outs(index), characters.background_as_filmed(index)
    for number, layers in characters.layers.items():
        if number not in gone and cut_outs[number][..., 3].any():
            behind = over(moved_character(finder, layers, index, cut_outs[number], np.eye(3), frame.shape[:2]), behind)
    taken = characters.taken_out(index, {number: cut_outs[number] for number in gone})
    return characters.uncovered(index, frame, taken, behind, gone)


def _with_shadow(
    finder: FrameFinder, character: ClipLayers, index: int, frame: np.ndarray, motion: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """A picture with the moved shadow of a frame's character on it, where shadows are asked for."""
    if not finder.shadow or not character.casts_shadow:
        return behind
    return over(move(character.shadow_as_filmed(index, frame), motion, behind.shape[:2]), behind)


def moved_character(
    finder: FrameFinder, character: ClipLayers, index: int, layer: np.ndarray, motion: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """A character of a frame moved into a picture of `size`: its texture, or the frame's own pixels of larger clips."""
    if is_textured(character) and not finder.network_only:
        return finder.textures(character).of(index).render(motion, size)[0]
    return move(layer, motion, size)


def render_by_networks(
    model: EquivariantVideoModel, frame: np.ndarray, background: np.ndarray, motion: np.ndarray, name: int | None = None
) -> np.ndarray:
    """Render g(T f(x) + h(x')) alone, at the size of the background frame, uint8; of the character of a name's number.

    Shapes: frame, background uint8 [., ., 3]; motion [3, 3], from the frame's coordinates to the background's.
    """
    size, canvas = background.shape[:2], model.config.canvas
    background_from_frame = target_from_source(frame.shape[:2], size)
    if frame.shape[:2] != size:
        frame = np.clip(move(frame, background_from_frame, size), 0, 255).astype(np.uint8)
    to_canvas = canvas_from_clip(size, canvas)
    motion = to_canvas @ motion @ np.linalg.inv(background_from_frame) @ np.linalg.inv(to_canvas)
    x, behind = (tf.constant(fit(picture, canvas)[None], tf.float32) / 255 for picture in (frame, background))
    of = () if name is None else (np.int32(name),)
    rendered = np.asarray(model.render(x, behind, tf.constant(motion[None, :2], tf.float32), *of))[0]
    return (np.clip(unfit(rendered, size, canvas), 0, 1) * 255).round().astype(np.uint8)


def read_shots(path: str | Path) -> list[Shot | Removal | Ensemble]:
    """Read the shots of a file, checked: names, keys, motions finite and invertible.

    Raises:
        ShotError: the file cannot be read, or a shot is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ShotError(f"{path}: there is no such file. Check the path.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ShotError(f"{path}: this is not a JSON file that can be read ({error})") from error
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ShotError(f"{path}: expected a list of shots, each a JSON object")
    for number, value in enumerate(values):
        if problem := _problem(value):
            raise ShotError(f"{path}: shot {value.get('name', number)!r}: {problem}")
    names = [value["name"] for value in values]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ShotError(f"{path}: two shots are named {twice[0]!r}")
    return [_shot(value, path.parent) for value in values]


def _shot(value: dict, root: Path) -> Shot | Removal | Ensemble:
    if "remove" in value:
        points = tuple(_point(point) for point in value["remove"])
        return Removal(name=value["name"], frame=root / value["frame"], points=points)
    if "layers" in value:
        shared = {key: value[key] for key in ("name", "background")}
        layers = tuple(_single_shot({**shared, **layer}, root) for layer in value["layers"])
        return Ensemble(name=value["name"], background=root / value["background"], layers=layers)
    return _single_shot(value, root)


def _point(value: Sequence[float]) -> Point:
    x, y = value
    return float(x), float(y)


def _single_shot(value: dict, root: Path) -> Shot:
    return Shot(
        name=value["name"],
        character=root / value["character"],
        background=root / value["background"],
        motion=np.array(value["motion"], np.float64) if "motion" in value else None,
        motion_from=tuple(root / name for name in value.get("motion_from", ())),
        about_character=value.get("about") == "character",
        point=_point(value["point"]) if "point" in value else None,
        motion_point=_point(value["motion_point"]) if "motion_point" in value else None,
    )


def _problem(value: dict) -> str | None:
    """What is wrong with a shot of a file, or None."""
    if problem := _problem_of_name(value):
        return problem
    if "remove" in value:
        return _problem_of_removal(value)
    if "layers" in value:
        return _problem_of_ensemble(value)
    return _problem_of_single(value, KEYS)


def _problem_of_name(value: dict) -> str | None:
    if not isinstance(value.get("name"), str) or not value["name"]:
        return f"name must be a name; received {value.get('name')!r}"
    if value["name"] != Path(value["name"]).name or value["name"] in (".", "..") or not value["name"].isprintable():
        return "name must be a file's name, without folders"
    return None


def _problem_of_removal(value: dict) -> str | None:
    if problem := _problem_of_keys(value, REMOVAL_KEYS, ("frame",)):
        return problem
    if not isinstance(value["remove"], list) or not value["remove"]:
        return "remove must be a list of points [x, y], at least one"
    return next((problem for point in value["remove"] if (problem := _problem_of_point(point, "remove"))), None)


def _problem_of_ensemble(value: dict) -> str | None:
    if problem := _problem_of_keys(value, CAST_KEYS, ("background",)):
        return problem
    if not isinstance(value["layers"], list) or not value["layers"]:
        return "layers must be a list of characters, at least one"
    for number, layer in enumerate(value["layers"]):
        if not isinstance(layer, dict):
            return f"layer {number}: expected a JSON object"
        if problem := _problem_of_single({"background": value["background"], **layer}, LAYER_KEYS | {"background"}):
            return f"layer {number}: {problem}"
    return None


def _problem_of_keys(value: dict, known: set[str], paths: Sequence[str]) -> str | None:
    for key in paths:
        if not isinstance(value.get(key), str) or not value[key]:
            return f"{key} must be a name; received {value.get(key)!r}"
    unknown = set(value) - known
    return f"unknown key {min(unknown)!r}" if unknown else None


def _problem_of_point(value: object, key: str) -> str | None:
    try:
        point = np.array(value, np.float64)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape == (2,) and np.isfinite(point).all() and np.abs(point).max() <= 1:
        return None
    return f"{key} must be a point [x, y] with values from -1 to 1; received {value!r}"


def _problem_of_single(value: dict, known: set[str]) -> str | None:
    if problem := _problem_of_keys(value, known, ("character", "background")):
        return problem
    if ("motion" in value) == ("motion_from" in value):
        return "give either motion or motion_from"
    for key in ("point", "motion_point"):
        if key in value and (problem := _problem_of_point(value[key], key)):
            return problem
    if "motion_point" in value and "motion_from" not in value:
        return "motion_point belongs to motion_from"
    if value.get("about", "frame") not in ("frame", "character"):
        return f'about must be "frame" or "character"; received {value["about"]!r}'
    return _problem_of_motion_from(value) if "motion_from" in value else _problem_of_motion(value)


def _problem_of_motion_from(value: dict) -> str | None:
    pair = value["motion_from"]
    good = isinstance(pair, list) and len(pair) == 2 and all(isinstance(path, str) for path in pair)
    return None if good else "motion_from must be [frame, later frame]"


def _problem_of_motion(value: dict) -> str | None:
    try:
        motion = np.array(value["motion"], np.float64)
    except (TypeError, ValueError):
        motion = np.empty(0)
    if motion.shape == (2, 3) and is_invertible(motion):
        return None
    return f"motion must be a finite 2x3 matrix that can be inverted; received {value['motion']!r}"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _ExampleMotion:
    """A forward motion [3, 3], and the point (x, y) that is the centre of what it moves."""

    motion: np.ndarray
    centre: np.ndarray


def shot_motion(finder: FrameFinder, shot: Shot, character: ClipLayers, layer: np.ndarray) -> np.ndarray:
    """The forward motion of a shot in the character's frame: given, or estimated from two frames.

    Shapes: [3, 3].

    Args:
        finder: finds the frames of `motion_from`.
        shot: the shot.
        character: the layers of the clip that the character is taken from.
        layer: the character's cut-out.

    Raises:
        ShotError: the frames of `motion_from` belong to two clips.
    """
    if shot.motion is None:
        example = _estimate_example(finder, shot, character)
    else:
        example = _ExampleMotion(motion=homogeneous(shot.motion), centre=np.zeros(2))
    if not shot.about_character:
        return example.motion
    from_example = np.eye(3)
    from_example[:2, 2] = centroid(layer) - example.centre
    return from_example @ example.motion @ np.linalg.inv(from_example)


def _estimate_example(finder: FrameFinder, shot: Shot, character: ClipLayers) -> _ExampleMotion:
    """The motion between the frames of `motion_from`, brought to the coordinates of the character's frame."""
    (clip, first), (other, second) = (finder.find(frame) for frame in shot.motion_from)
    if clip is not other:
        raise ShotError(f"shot {shot.name!r}: the frames of motion_from belong to two clips")
    source, _ = finder.find_character(shot.motion_from[0], shot.motion_point)
    motions = source.align_motions([first, second])
    start = centroid(source.layer_as_filmed(first, source.filmed.at(first)))
    as_first_sees_it = source.clip.between_as_filmed(motions[0], first, first, source.centres[first])
    character_from_source = target_from_source(source.filmed.size, character.filmed.size)
    motion = character_from_source @ as_first_sees_it @ np.linalg.inv(character_from_source)
    return _ExampleMotion(motion=motion, centre=character_from_source[:2, :2] @ start)


def _draw_with_renderer(
    finder: FrameFinder, frame: np.ndarray, layer: np.ndarray, background: np.ndarray, motion: np.ndarray
) -> np.ndarray:
    """Draw the cut-out over the background by g, at the size of the canvas: [h, w, 3] uint8."""
    unit = lambda picture: tf.constant(picture[None] / np.float32(255), tf.float32)
    cutout = np.concatenate([layer[..., :3] / np.float32(255), layer[..., 3:]], -1)
    drawn = finder.draw(unit(frame), tf.constant(cutout[None], tf.float32), unit(background), motion[None, :2])
    return (np.asarray(drawn)[0] * 255).round().astype(np.uint8)


_RENDERERS: dict[type, Callable[..., np.ndarray]] = {
    Shot: render_shot,
    Removal: render_removal,
    Ensemble: render_ensemble,
}
