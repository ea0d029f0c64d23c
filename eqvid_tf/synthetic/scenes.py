"""Scenes with exact ground truth, drawn from a seed, and the folders that hold them.

A scene folder holds `frames/`, `masks/` (uint8 coverage), `background.png`, `motion.json` (size, forward
motion of each step, the character's centre in each frame), and `shots.json` with the exact answers in `expected/`
and `expected_masks/`. A shot named move-* is a motion that the clip does not show, swap-* such a motion on the
neighbour's background, transfer-* a motion of the neighbour's character, literally in frame coordinates.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.data.output import write_text
from eqvid_tf.data.writers import write_png
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.synthetic.compose import Scene, frame_from_sprite
from eqvid_tf.synthetic.sprites import draw_character

HOLD = 2  # frames for which one cell of the walk cycle is displayed
ZOOM = 0.42  # half the character's height in units of half the frame's
PARTS = ("frames", "masks", "background.png", "motion.json", "shots.json", "expected", "expected_masks")


def draw_scene(
    seed: int,
    *,
    size: tuple[int, int] = (64, 64),
    frames: int = 48,
    rest: float = 0.0,
    rest_at: str = "middle",
    pace: float = 1.5,
    character: str | None = None,
    background: str | None = None,
    cells: int = 6,
    hue: float | None = None,
    resolution: int | None = None,
) -> Scene:
    """Draw a scene: a character on a smooth path, turning and zooming, its legs walking.

    Convention: the path is a sine of time in each of x, y, turn and log zoom, with amplitudes .5, .42
    (of half the frame), 25 degrees and .18; frequencies between .5 and 1.1 per unit of `pace`.

    Args:
        seed: everything that is drawn follows from it.
        size: (height, width) of the frames.
        frames: length of the clip, at least 2.
        rest: share of the clip, in [0, 1), for which the character stands still, legs too.
        rest_at: "start", "middle" or "end" of the clip.
        pace: how far along its path the character gets; half of it in a short clip moves half as much.
        character: a kind, see `draw_character`; by default the seed chooses.
        background: a kind, see `draw_background`; by default the seed chooses.
        cells: pictures in the walk cycle; 1 for a character that is rigid.
        hue: of the character, in [0, 1]; by default the seed chooses.
        resolution: side of the character's cells; by default enough for the frame, 160 at least.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> scene = draw_scene(3, size=(32, 48), frames=4)
        >>> scene.frames.shape, scene.masks.shape, scene.motions.shape
        ((4, 32, 48, 3), (4, 32, 48), (3, 2, 3))
    """
    step = _steps(frames, rest, rest_at)
    rng = np.random.default_rng([seed, 5])
    time = step * pace / (frames - 1)
    x, y, turn, zoom = (
        amplitude * np.sin(2 * math.pi * (time * rng.uniform(0.5, 1.1) + rng.random()))
        for amplitude in (0.5, 0.42, math.radians(25), 0.18)
    )
    return Scene(
        cells=draw_character(seed, character, cells=cells, resolution=resolution or max(160, size[0] // 2), hue=hue),
        background=draw_background(seed, size, background),
        centre=np.stack([x, y], -1),
        turn=turn,
        zoom=ZOOM * np.exp(zoom),
        cell=step // HOLD % cells,
    )


def _steps(frames: int, rest: float, rest_at: str) -> np.ndarray:
    """How many steps the character has made at each frame."""
    if frames < 2 or not 0 <= rest < 1:
        raise ValueError(
            f"frames must be at least 2 and rest in [0, 1); received frames={frames}, rest={rest}. "
            "rest is the part of the clip without motion."
        )
    resting = int(rest * frames)
    starts = {"start": 0, "middle": (frames - resting) // 2, "end": frames - 1 - resting}
    if rest_at not in starts:
        raise ValueError(
            f"rest_at must be one of {', '.join(starts)}; received {rest_at!r}. Leave it out for the middle."
        )
    return np.arange(frames) - np.clip(np.arange(frames) - starts[rest_at], 0, resting)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Shot:
    """A job, as in shots.json, and its exact answer: frame [H, W, 3] and mask [H, W], uint8."""

    job: dict[str, Any]
    frame: np.ndarray
    mask: np.ndarray


def _shots(scene: Scene, neighbour: tuple[str, Scene] | None, count: int, rng: np.random.Generator) -> Iterator[_Shot]:
    """`count` shots of each kind; without a neighbour, of the first kind alone."""
    name, other = neighbour or ("", None)
    moving = _moving_pairs(other) if other else []
    for k in range(count):
        i, j = (int(v) for v in rng.integers(0, len(scene), 2))
        shot = functools.partial(_shot, scene, i)
        yield shot(f"move-{k:03d}", f"frames/{j:05d}.png", _unseen_motion(scene, i, rng))
        if other:
            behind = f"../{name}/frames/{j % len(other):05d}.png"
            yield shot(f"swap-{k:03d}", behind, _unseen_motion(scene, i, rng), picture=other.background)
        if other and moving:
            pair = moving[int(rng.integers(len(moving)))]
            example = [f"../{name}/frames/{index:05d}.png" for index in pair]
            yield shot(f"transfer-{k:03d}", f"frames/{i:05d}.png", other.motion(*pair), example=example)


def _shot(
    scene: Scene,
    index: int,
    name: str,
    background: str,
    motion: np.ndarray,
    *,
    picture: np.ndarray | None = None,
    example: list[str] | None = None,
) -> _Shot:
    """The character of a frame under a motion, before a background file (its picture, if it is not the scene's own)."""
    given = {"motion_from": example} if example else {"motion": motion.tolist()}
    job = {"name": name, "character": f"frames/{index:05d}.png", "background": background, **given}
    frame, mask = scene.picture(index, motion, picture)
    return _Shot(job=job, frame=frame, mask=mask)


def _moving_pairs(scene: Scene) -> list[tuple[int, int]]:
    """Frames 1 to 4 steps from each other between which the character moves by more than a pixel."""
    pairs = [(a, a + gap) for gap in range(1, 5) for a in range(len(scene) - gap)]
    return [(a, b) for a, b in pairs if _distance(scene.motion(a, b), scene.centre[a], scene.size) > 1]


def _distance(motion: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> float:
    """Mean distance in pixels by which a motion moves the corners of the character's box."""
    half = np.array([size[0] / size[1], 1.0]) / 2
    corners = centre + half * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    moved = corners @ motion[:, :2].T + motion[:, 2] - corners
    return float(np.hypot(*(moved * [size[1] / 2, size[0] / 2]).T).mean())


def _unseen_motion(scene: Scene, index: int, rng: np.random.Generator) -> np.ndarray:
    """A random motion [2, 3] that takes the character of a frame to some other place in the frame."""
    centre, turn, zoom = rng.uniform(-0.55, 0.55, 2), rng.uniform(-0.7, 0.7), ZOOM * math.exp(rng.uniform(-0.25, 0.25))
    frame_from_cell = frame_from_sprite(centre, turn, zoom, scene.size[1] / scene.size[0])
    return (frame_from_cell @ np.linalg.inv(scene.pose(index)))[:2]


def write_scene(
    folder: str | Path,
    scene: Scene,
    *,
    other: tuple[str, Scene] | None = None,
    shots: int = 16,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a scene folder: frames, masks, background.png, motion.json, and shots with their exact answers.

    Args:
        folder: the scene's folder; its name is the scene's name.
        scene: what to write.
        other: name and scene of a neighbour in the same parent folder and of the same frame size, for the
            swap and transfer shots; without it there are move shots alone.
        shots: jobs of each kind.
        seed: of the shots.
        overwrite: replace a scene that is there already.

    Raises:
        FileExistsError: the folder holds something and `overwrite` is false.
    """
    folder = Path(folder)
    _empty(folder, overwrite)
    for index in range(len(scene)):
        for part, picture in zip(("frames", "masks"), scene.picture(index)):
            write_png(folder / part / f"{index:05d}.png", picture)
    write_png(folder / "background.png", scene.background)
    truth = {"size": list(scene.size), "motion": scene.motions.tolist(), "pose_centre": scene.centre.tolist()}
    write_text(folder / "motion.json", json.dumps(truth))
    jobs = []
    for shot in _shots(scene, other, shots, np.random.default_rng([seed, 6])):
        for part, picture in (("expected", shot.frame), ("expected_masks", shot.mask)):
            write_png(folder / part / f"{shot.job['name']}.png", picture)
        jobs.append(shot.job)
    write_text(folder / "shots.json", json.dumps(jobs, indent=1))


def _empty(folder: Path, overwrite: bool) -> None:
    """Remove the parts of a scene from a folder; FileExistsError where it is not empty and must not be overwritten."""
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{folder} must be new or empty; it holds files. Use overwrite=True to write the scene again."
        )
    for part in (folder / name for name in PARTS):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def write_scenes(
    root: str | Path,
    recipe: Mapping[str, Mapping[str, Any]],
    *,
    only: Collection[str] | None = None,
    shots: int = 16,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Draw and write a set of scenes; each scene's neighbour is the next one of the same frame size.

    Returns:
        The scene folders, in the recipe's order.

    Args:
        root: gets one folder for each scene.
        recipe: for each scene's name the arguments of `draw_scene`, `seed` among them.
        only: names of the scenes to write; they are the same as in the whole set.
        shots: as for `write_scene`.
        seed: of the first scene's shots.
        overwrite: as for `write_scene`.
    """
    names = list(recipe)
    sizes = {name: tuple(item.get("size", (64, 64))) for name, item in recipe.items()}
    draw = functools.cache(lambda name: draw_scene(**{**recipe[name], "size": sizes[name]}))
    written = []
    for k, name in enumerate(names):
        if only is None or name in only:
            following = names[k + 1 :] + names[:k]
            neighbour = next((other for other in following if sizes[other] == sizes[name]), None)
            other = (neighbour, draw(neighbour)) if neighbour else None
            written.append(Path(root) / name)
            write_scene(written[-1], draw(name), other=other, shots=shots, seed=seed + k, overwrite=overwrite)
    return written
