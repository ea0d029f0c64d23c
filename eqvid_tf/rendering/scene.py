"""A scene as one file: characters of clips, each placed, turned, scaled or moved along a template, over a background.

docs/formats.md has the format. A picture of a scene is drawn by the functions that draw shots and videos.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.core.model import EquivariantVideoModel
from eqvid_tf.data.clips import ClipError
from eqvid_tf.data.images import read_image
from eqvid_tf.data.readers import in_name_order
from eqvid_tf.motions.catalog import find
from eqvid_tf.motions.checks import LEAST_FPS, MOST_FPS, MOST_STEPS, TemplateError
from eqvid_tf.motions.template import Template, frame_from_template
from eqvid_tf.pixels.coordinates import centroid
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.rendering.shots import FrameFinder, without
from eqvid_tf.rendering.videos import (
    LEAST_ZOOM,
    MOST_ZOOM,
    Actor,
    MovingBackground,
    Performance,
    PlayError,
    cast_actor,
    check_play,
    move_into,
    perform,
    seen_by_camera,
    turned_and_scaled,
)
from eqvid_tf.rendering.walk_cycle import frame_order
from eqvid_tf.separation.characters import ClipCharacters, NoSuchCharacter
from eqvid_tf.separation.cutout import straight_alpha
from eqvid_tf.separation.layers import ClipLayers

FORMAT = 1
LARGEST = 16_384  # pixels of a side
FARTHEST = 1e3  # half frames that a character may be moved
NEEDED = ("format", "clips", "frames", "rate")
KEYS = {*NEEDED, "run", "size", "background", "characters", "removed", "corrections"}
CHARACTER_KEYS = {"id", "clip", "character", "frame", "play", "motion", "template", "hidden", "order"}
MOTION = {"translation": (0.0, 0.0), "rotation": 0.0, "scale": 1.0}


class SceneError(ValueError):
    """A scene that cannot be read or drawn: one line, with the place."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScenePlacement:
    """How a character is moved about its own centre.

    Attributes:
        translation: (x, y) in normalized coordinates of the picture: 2 is its width, or its height.
        rotation: in degrees, clockwise on the screen.
        scale: its height relative to the picture's, by what both are in its own clip.
    """

    translation: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    scale: float = 1.0

    def motion(self, centre: np.ndarray, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """The forward motion [3, 3] from a frame of its clip, of a size, into a picture of another."""
        there = frame_from_template(size, centre + np.array(self.translation))
        turned = turned_and_scaled(math.radians(self.rotation), self.scale)
        return there @ turned @ np.linalg.inv(frame_from_template(source, centre))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SceneCharacter:
    """A character of a scene.

    Attributes:
        id: its own text in the scene.
        clip: the name of the clip that it is taken from.
        character: its number or name there.
        frame: that it is frozen in; None: the one that shows it best, unless it plays.
        plays: it goes on as in its clip.
        placement: how it is moved from its place there.
        template: what it plays, its own motion taken out; None: it keeps its own, or stands still.
        hidden: it is not drawn.
        order: from the back to the front.
    """

    id: str
    clip: str
    character: int | str
    frame: int | None
    plays: bool
    placement: ScenePlacement
    template: Template | None
    hidden: bool
    order: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SceneFile:
    """What a scene file says; every path is absolute or relative to where the program runs.

    Attributes:
        clips: the path of each clip by its name.
        hashes: what `clip_sha256` gave of some of them when the file was written.
        background: the name of a clip, the path of a picture, or None for nothing.
        size: (height, width) of the pictures; None: that of the background, else of the first character's clip.
        frames: number of pictures.
        rate: pictures per second.
        characters: from the back to the front.
        removed: numbers or names of characters that are taken out of the background's clip.
        run: the model folder that it was made with.
    """

    clips: dict[str, Path]
    hashes: dict[str, str]
    background: str | Path | None
    size: tuple[int, int] | None
    frames: int
    rate: float
    characters: tuple[SceneCharacter, ...]
    removed: tuple[int | str, ...] = ()
    run: Path | None = None

    @property
    def sources(self) -> list[Path]:
        """The files and folders that it is made from."""
        return [*self.clips.values(), *([self.background] if isinstance(self.background, Path) else [])]


# ---- reading


def read_scene(path: str | Path, catalogs: Iterable[str | Path] = ()) -> SceneFile:
    """Read a scene file, and check it against the clips and pictures that it names.

    Args:
        path: of the file; paths in it are relative to its folder.
        catalogs: folders of motion templates; then come `motions` of the scene's own model, and the package's.

    Raises:
        SceneError: the file or a value in it is wrong, or a clip or a picture is missing or has changed.
    """
    path = Path(path)
    if not path.is_file():
        raise SceneError(f"{path}: there is no such file. Check the path.")
    try:
        scene = parse_scene(json.loads(path.read_text(encoding="utf-8")), path.parent, catalogs)
        _check_sources(scene)
    except SceneError as error:
        raise SceneError(f"{path}: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SceneError(f"{path}: this is not a JSON file that can be read ({error})") from error
    return scene


def parse_scene(values: Any, folder: Path, catalogs: Iterable[str | Path] = ()) -> SceneFile:
    """Make a scene of what a file holds, without a look at the clips; for the arguments see `read_scene`.

    Raises:
        SceneError: a value is wrong.
    """
    _check_object(values, KEYS, NEEDED)
    if values["format"] != FORMAT:
        raise SceneError(f"its format is {values['format']!r}; this package reads {FORMAT}. Upgrade eqvid_tf.")
    clips = _list_of(values, "clips", dict)
    names = [_clip_name(clip) for clip in clips]
    run = folder / _text(values, "run") if values.get("run") else None
    catalogs = [*catalogs, *([run / "motions"] if run else [])]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SceneError(f"two clips are named {twice!r}; give each a name of its own")
    background = _background(values.get("background"), names, folder)
    characters = tuple(_character(value, names, folder, catalogs) for value in _list_of(values, "characters", dict))
    ids = [character.id for character in characters]
    if twice := next((name for name in ids if ids.count(name) > 1), None):
        raise SceneError(f"two characters have the id {twice!r}; give each its own")
    removed = _list_of(values, "removed", int | str)
    if removed and not isinstance(background, str):
        raise SceneError("removed names characters of the background's clip; there is none. Leave it out.")
    _list_of(values, "corrections", dict)  # of the model that is named by run: they are learned already
    return SceneFile(
        clips={name: folder / clip["path"] for name, clip in zip(names, clips)},
        hashes={name: clip["sha256"] for name, clip in zip(names, clips) if clip.get("sha256")},
        background=background,
        size=_size(values.get("size")),
        frames=_number(values, "frames", 1, MOST_STEPS, whole=True),
        rate=float(_number(values, "rate", LEAST_FPS, MOST_FPS)),
        characters=tuple(sorted(characters, key=lambda character: character.order)),
        removed=tuple(removed),
        run=run,
    )


def clip_sha256(path: str | Path) -> str:
    """The SHA-256 of a clip, hexadecimal: of a file its bytes, of a folder what `sha256sum` prints of its pictures.

    A folder's pictures are in name order; the text that is hashed has a line "HASH  NAME" for each.
    """
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    folder = path / "frames" if (path / "frames").is_dir() else path
    lines = (f"{clip_sha256(picture)}  {picture.name}\n" for picture in in_name_order(folder))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_sources(scene: SceneFile) -> None:
    for name, path in scene.clips.items():
        if not path.exists():
            raise SceneError(f"clip {name!r}: {path} is gone. Put it back, or correct its path in the file.")
        if name in scene.hashes and clip_sha256(path) != scene.hashes[name]:
            raise SceneError(
                f"clip {name!r}: {path} has changed since the file was written. Put the former one back, or take its "
                "sha256 out of the file."
            )
    if isinstance(scene.background, Path) and not scene.background.is_file():
        raise SceneError(f"background: {scene.background} is gone. Put it back, or correct its path in the file.")


def _check_object(values: Any, known: set[str], needed: Sequence[str]) -> None:
    if not isinstance(values, dict):
        raise SceneError(f"expected a JSON object; received {values!r:.60}")
    if missing := [key for key in needed if key not in values]:
        raise SceneError(f"{missing[0]} is missing")
    if unknown := sorted(set(values) - known):
        raise SceneError(f"unknown key {unknown[0]!r:.60}; the keys are {', '.join(sorted(known))}")


def _list_of(values: dict, key: str, kind: Any) -> list:
    found = values.get(key)
    found = [] if found is None else found
    if not isinstance(found, list) or not all(isinstance(x, kind) and not isinstance(x, bool) for x in found):
        words = "numbers or names" if kind is not dict else "JSON objects"
        raise SceneError(f"{key} must be a list of {words}; received {found!r:.60}")
    return found


def _number(values: dict, key: str, least: float, most: float, *, whole: bool = False) -> Any:
    value = values[key]
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not right or not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise SceneError(f"{key} must be a {kind} from {least:g} to {most:g}; received {value!r:.60}")
    return value


def _text(values: dict, key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise SceneError(f"{key} must be a text; received {value!r:.60}")
    return value


def _clip_name(values: dict) -> str:
    _check_object(values, {"name", "path", "sha256"}, ("name", "path"))
    _text(values, "path")
    if values.get("sha256"):
        _text(values, "sha256")
    return _text(values, "name")


def _known_clip(values: dict, names: Sequence[str]) -> str:
    if (name := _text(values, "clip")) not in names:
        raise SceneError(f"there is no clip {name!r:.60} in clips; there are {', '.join(names) or 'none'}")
    return name


def _size(value: Any) -> tuple[int, int] | None:
    """(height, width) of a file's [width, height]."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise SceneError(f"size must be [width, height]; received {value!r:.60}")
    width, height = (_number({"size": side}, "size", 1, LARGEST, whole=True) for side in value)
    return height, width


def _background(value: Any, names: Sequence[str], folder: Path) -> str | Path | None:
    if value is None:
        return None
    try:
        _check_object(value, {"clip", "picture"}, ())
        if len(value) != 1:
            raise SceneError(f"expected one of clip, picture; received {', '.join(value) or 'none'}")
        return _known_clip(value, names) if "clip" in value else folder / _text(value, "picture")
    except SceneError as error:
        raise SceneError(f"background: {error}") from error


def _character(values: dict, names: Sequence[str], folder: Path, catalogs: Iterable[str | Path]) -> SceneCharacter:
    try:
        return _checked_character(values, names, folder, catalogs)
    except (SceneError, TemplateError) as error:
        raise SceneError(f"character {values.get('id')!r:.60}: {error}") from error


def _checked_character(
    values: dict, names: Sequence[str], folder: Path, catalogs: Iterable[str | Path]
) -> SceneCharacter:
    _check_object(values, CHARACTER_KEYS, ("id", "clip", "character"))
    values = {key: value for key, value in values.items() if value is not None}
    (who,) = _list_of({"character": [values.get("character")]}, "character", int | str)
    plays, hidden = values.get("play", False), values.get("hidden", False)
    if not isinstance(plays, bool) or not isinstance(hidden, bool):
        raise SceneError("play and hidden must be true or false")
    if plays and "frame" in values:
        raise SceneError("it is frozen in a frame, or plays; leave one of frame, play out")
    return SceneCharacter(
        id=_text(values, "id"),
        clip=_known_clip(values, names),
        character=who,
        frame=_number(values, "frame", 0, float("inf"), whole=True) if "frame" in values else None,
        plays=plays,
        placement=_placement(values.get("motion", {})),
        template=_template(values, folder, catalogs),
        hidden=hidden,
        order=_number({"order": 0, **values}, "order", -math.inf, math.inf),
    )


def _template(values: dict, folder: Path, catalogs: Iterable[str | Path]) -> Template | None:
    if "template" not in values:
        return None
    name = _text(values, "template")
    return find(folder / name if name.endswith(".json") else name, catalogs)


def _placement(values: Any) -> ScenePlacement:
    _check_object(values, set(MOTION), ())
    values = {**MOTION, **values}
    shift = values["translation"]
    if not isinstance(shift, list | tuple) or len(shift) != 2:
        raise SceneError(f"translation must be [x, y]; received {shift!r:.60}")
    x, y = (float(_number({"translation": part}, "translation", -FARTHEST, FARTHEST)) for part in shift)
    rotation = float(_number(values, "rotation", -1e6, 1e6))
    return ScenePlacement(
        translation=(x, y), rotation=rotation, scale=float(_number(values, "scale", LEAST_ZOOM, MOST_ZOOM))
    )


# ---- drawing


def scene_frame(
    model: EquivariantVideoModel, scene: SceneFile, index: int, *, finder: FrameFinder | None = None
) -> np.ndarray:
    """Draw one picture of a scene: uint8 [H, W, 3], without a background [H, W, 4] with straight alpha.

    Args:
        model: a trained model.
        scene: see `read_scene`.
        index: of the picture.
        finder: keeps what is made of the clips from one call to the next; None: it is made for this one.

    Raises:
        SceneError: a clip has no such frame or character, or the scene has no such picture.
    """
    return SceneStage(finder or FrameFinder(model), scene).frame(index)


def scene_frames(
    model: EquivariantVideoModel, scene: SceneFile, *, finder: FrameFinder | None = None
) -> Iterator[np.ndarray]:
    """Draw all pictures of a scene in turn; as `scene_frame`."""
    stage = SceneStage(finder or FrameFinder(model), scene)
    return map(stage.frame, range(scene.frames))


class SceneStage:
    """A scene that is ready to be drawn: its clips are open, its characters found.

    Attributes:
        size: (height, width) of its pictures.

    Args:
        finder: of the clips.
        scene: see `read_scene`.
        cast: makes the actors, as `cast_actor`; one that remembers them makes the next stage of the same clips quick.

    Raises:
        SceneError: a clip cannot be opened, or has no such frame or character.
    """

    def __init__(self, finder: FrameFinder, scene: SceneFile, *, cast: Callable[..., Actor] = cast_actor):
        self.finder, self.scene, self._cast = finder, scene, cast
        self._behind = self._characters(scene.background) if isinstance(scene.background, str) else None
        self._picture = read_image(scene.background) if isinstance(scene.background, Path) else None
        self._gone = self._characters_gone()
        self.size = scene.size or self._natural_size()
        self._actors = [self._actor(character) for character in scene.characters if not character.hidden]

    def frame(self, index: int) -> np.ndarray:
        """Draw a picture; see `scene_frame`."""
        if not 0 <= index < self.scene.frames:
            raise SceneError(f"there is no picture {index}; the scene has pictures 0 to {self.scene.frames - 1}")
        canvas = self._background(index)
        for draw in self._actors:
            part, place = draw(index)
            canvas[place] = part + (1 - part[..., 3:]) * canvas[place]
        if self.scene.background is None:
            return straight_alpha(canvas)
        return np.clip(canvas[..., :3], 0, 255).round().astype(np.uint8)

    def _characters(self, clip: str) -> ClipCharacters:
        try:
            return self.finder.clip(self.scene.clips[clip])
        except ClipError as error:
            raise SceneError(f"clip {clip!r}: {error}") from error

    def _characters_gone(self) -> set[int]:
        """The numbers of the characters that do not stay in the background's clip: removed, or drawn by themselves."""
        own = [character.character for character in self.scene.characters if character.clip == self.scene.background]
        try:
            return {self._behind.number(who) for who in (*self.scene.removed, *own)} if self._behind else set()
        except NoSuchCharacter as error:
            raise SceneError(str(error)) from error

    def _natural_size(self) -> tuple[int, int]:
        if self._picture is not None:
            return self._picture.shape[:2]
        shown = self._behind or next((self._characters(character.clip) for character in self.scene.characters), None)
        if shown is None:
            raise SceneError("size must be given where there is neither a background nor a character")
        return shown.clip.filmed.size

    def _order(self, clip: ClipCharacters) -> np.ndarray:
        """Which frame of a clip each picture shows: it goes on in the scene's time, to and fro."""
        return frame_order(self.scene.frames, clip.clip.count, clip.clip.fps / self.scene.rate, False)

    def _background(self, index: int) -> np.ndarray:
        """What is behind the characters, premultiplied RGBA [H, W, 4]."""
        canvas = np.zeros((*self.size, 4), np.float32)
        picture = self._picture
        if self._behind is not None:
            picture = self._clip_without(self._behind, int(self._order(self._behind)[index]))
        if picture is not None:
            canvas[..., :3], canvas[..., 3] = cover(picture, self.size), 1
        return canvas

    def _clip_without(self, characters: ClipCharacters, at: int) -> np.ndarray:
        if self._gone >= set(characters.layers):
            return characters.plate(at)
        return without(self.finder, characters, at, characters.clip.filmed.at(at), self._gone)

    def _actor(self, character: SceneCharacter) -> Callable[[int], tuple[np.ndarray, tuple[slice, slice]]]:
        """Draws a character: of a picture the part that it touches, premultiplied RGBA, and its rows and columns."""
        try:
            characters = self._characters(character.clip)
            number = characters.number(character.character)
            layers = characters.layers[number]
            layers.prepare()
            if character.plays and character.template is None:
                return lambda index: self._as_filmed(character, characters, number, index)
            performance = self.perform(character, layers)
            motions = self._in_the_world(performance.motions)
        except (NoSuchCharacter, PlayError, TemplateError) as error:
            raise SceneError(f"character {character.id!r}: {error}") from error
        return lambda index: self._performed(performance, motions, index)

    def _as_filmed(
        self, character: SceneCharacter, characters: ClipCharacters, number: int, index: int
    ) -> tuple[np.ndarray, tuple[slice, slice]]:
        """A character that goes on as in its clip, moved about its centre in each frame."""
        at, whole, filmed = int(self._order(characters)[index]), (slice(None), slice(None)), characters.clip.filmed
        layer = characters.cut_outs(at)[number]
        motion = character.placement.motion(centroid(layer), filmed.size, self.size)
        if filmed.size == self.size and np.abs(motion - np.eye(3)).max() < 1e-9:
            return layer, whole
        picture, layers = layer, characters.layers[number]
        if layers.at_canvas_size and not layers.clip.moves:  # as in a video: of a larger clip it takes seconds a frame
            picture, texture_from_frame = self.finder.textures(layers).of(at).cut_out()
            motion = motion @ np.linalg.inv(texture_from_frame)
        return move_into(picture, motion, self.size)

    def perform(self, character: SceneCharacter, layers: ClipLayers) -> Performance:
        """What a character of the scene does that is frozen or plays a template, before a camera that stands still."""
        placement, count, rate = character.placement, max(self.scene.frames, 2), self.scene.rate
        pose, playing, progress = character.frame, character.plays, self.finder.progress
        check_play(layers, zoom=placement.scale, pose=pose, playing=playing)
        return perform(
            layers,
            lasting(character.template, self.scene.frames, rate),
            size=self.size,
            actor=self._cast(layers, count, rate, pose=pose, playing=playing, progress=progress),
            zoom=placement.scale,
            pose=pose,
            playing=playing,
            shift=placement.translation,
            turn=math.radians(placement.rotation),
            progress=progress,
        )

    def _in_the_world(self, motions: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Motions of what stays in its place before the background, as its camera sees them."""
        if self._behind is None or not self._behind.clip.moves:
            return motions
        rate = self._behind.clip.fps / self.scene.rate
        seen = MovingBackground.as_filmed(self._behind.first, self.scene.frames, rate)
        picture_from_clip = covering(seen.size, self.size)
        from_first = seen.from_still @ np.linalg.inv(seen.from_still[0])
        return seen_by_camera(picture_from_clip @ from_first @ np.linalg.inv(picture_from_clip), motions)

    def _performed(
        self, performance: Performance, motions: Sequence[np.ndarray], index: int
    ) -> tuple[np.ndarray, tuple[slice, slice]]:
        stored = performance.actor.poses.read(performance.actor.order[index])
        return move_into(stored.picture, motions[index] @ np.linalg.inv(stored.picture_from_frame), self.size)


def lasting(template: Template | None, count: int, rate: float) -> Template:
    """A template of `count` pictures: one that ends where it began goes on, another is followed by rest."""
    still = np.tile(np.eye(2, 3), (max(count - 1, 1), 1, 1))
    if template is None:
        return Template(name="still", fps=rate, steps=still, source={"by": "scene"})
    template = template.resampled(rate)
    if template.loops:
        steps = np.resize(template.steps, still.shape)
    else:
        steps = np.concatenate([template.steps, still])[: len(still)]
    return dataclasses.replace(template, steps=steps)


def covering(size: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    """The motion [3, 3] from normalized coordinates of a picture to those of another size that it covers centrally."""
    height, width = (side / whole for side, whole in zip(size, other))
    return np.diag([width / min(height, width), height / min(height, width), 1.0])


def cover(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture brought to a size that it covers: nothing shears, and what is too much is cut off on both sides.

    Shapes: uint8 [h, w, 3] -> [*size, 3].
    """
    larger = covering(picture.shape[:2], size)
    width, height = (max(round(side * growth), side) for side, growth in zip(size[::-1], np.diag(larger)))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return resize(picture, (height, width))[top : top + size[0], left : left + size[1]]
