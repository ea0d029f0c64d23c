"""Scenes with exact ground truth, from a seed, and the folders that hold them.

A scene folder holds `frames/`, `masks/` (uint8 coverage), `background.png`, `motion.json` (size, forward
motion per step, the character's centre per frame), and `shots.json` with the exact answers in `expected/`
and `expected_masks/`. A shot named move-* is a motion that the clip does not show, swap-* the same on the
neighbour's background, transfer-* a motion of the neighbour's, literally in frame coordinates.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqvid_tf.data.writers import write_png
from eqvid_tf.synthetic.backgrounds import draw_background
from eqvid_tf.synthetic.compose import Scene, frame_from_sprite
from eqvid_tf.synthetic.sprites import draw_character

HOLD = 2  # frames for which one cell of the walk cycle is shown
ZOOM = 0.42  # half the character's height in units of half the frame's
PARTS = ("frames", "masks", "background.png", "motion.json", "shots.json", "expected", "expected_masks")
Shot = tuple[dict[str, Any], tuple[np.ndarray, np.ndarray]]  # the job, and its answer: frame and mask


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
    """A scene from a seed: a character on a smooth path, turning and zooming, its legs walking.

    Convention: the path is a sine of time in each of x, y, turn and log zoom, with amplitudes .5, .42
    (of half the frame), 25 degrees and .18; frequencies between .5 and 1.1 per unit of `pace`.

    Args:
        seed: everything that is drawn follows from it.
        size: (height, width) of the frames.
        frames: length of the clip, at least 2.
        rest: part of the clip, in [0, 1), for which the character stands still, legs too.
        rest_at: "start", "middle" or "end" of the clip.
        pace: how far along its path the character gets; half of it in a short clip moves half as much.
        character, background: a kind, see `draw_character` and `draw_background`; by default the seed chooses.
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
    at = step * pace / (frames - 1)
    x, y, turn, zoom = (
        amplitude * np.sin(2 * math.pi * (at * rng.uniform(0.5, 1.1) + rng.random()))
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
    if rest_at not in (places := ("start", "middle", "end")):
        raise ValueError(
            f"rest_at must be one of {', '.join(places)}; received {rest_at!r}. Leave it out for the middle."
        )
    resting = int(rest * frames)
    before = {"start": 0, "middle": (frames - resting) // 2, "end": frames - 1 - resting}[rest_at]
    return np.arange(frames) - np.clip(np.arange(frames) - before, 0, resting)


def _travel(motion: np.ndarray, centre: np.ndarray, size: tuple[int, int]) -> float:
    """Mean distance in pixels that a motion carries the corners of the character's box."""
    half = np.array([size[0] / size[1], 1.0]) / 2
    corners = centre + half * np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
    moved = corners @ motion[:, :2].T + motion[:, 2] - corners
    return float(np.hypot(*(moved * [size[1] / 2, size[0] / 2]).T).mean())


def _moving_pairs(scene: Scene) -> list[tuple[int, int]]:
    """Frames 1 to 4 apart between which the character moves by more than a pixel."""
    pairs = [(a, a + gap) for gap in range(1, 5) for a in range(len(scene) - gap)]
    return [(a, b) for a, b in pairs if _travel(scene.motion(a, b), scene.centre[a], scene.size) > 1]


def _unseen(scene: Scene, index: int, rng: np.random.Generator) -> np.ndarray:
    """A random motion [2, 3] that takes the character of one frame to some other place in the frame."""
    centre, turn, zoom = rng.uniform(-0.55, 0.55, 2), rng.uniform(-0.7, 0.7), ZOOM * math.exp(rng.uniform(-0.25, 0.25))
    target = frame_from_sprite(centre, turn, zoom, scene.size[1] / scene.size[0])
    return (target @ np.linalg.inv(scene.pose(index)))[:2]


def _shots(scene: Scene, other: tuple[str, Scene] | None, count: int, rng: np.random.Generator) -> Iterator[Shot]:
    """Each job of a scene and its answer."""
    name, there = other or ("", None)
    moving = _moving_pairs(there) if there else []
    for k in range(count):
        i, j = (int(v) for v in rng.integers(0, len(scene), 2))
        job, motion = {"character": f"frames/{i:05d}.png"}, _unseen(scene, i, rng)
        move = {"background": f"frames/{j:05d}.png", "motion": motion.tolist()}
        yield {"name": f"move-{k:03d}", **job, **move}, scene.picture(i, motion)
        if there:
            motion = _unseen(scene, i, rng)
            swap = {"background": f"../{name}/frames/{j % len(there):05d}.png", "motion": motion.tolist()}
            yield {"name": f"swap-{k:03d}", **job, **swap}, scene.picture(i, motion, there.background)
        if moving:
            pair = moving[int(rng.integers(len(moving)))]
            example = [f"../{name}/frames/{index:05d}.png" for index in pair]
            transfer = {"background": f"frames/{i:05d}.png", "motion_from": example}
            yield {"name": f"transfer-{k:03d}", **job, **transfer}, scene.picture(i, there.motion(*pair))


def _empty(folder: Path, overwrite: bool) -> None:
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(
            f"{folder} must be new or empty; it holds files. Use overwrite=True to write the scene again."
        )
    for part in (folder / name for name in PARTS):
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def write_scene(
    folder: str | Path,
    scene: Scene,
    *,
    other: tuple[str, Scene] | None = None,
    shots: int = 16,
    seed: int = 0,
    overwrite: bool = False,
) -> None:
    """Writes a scene folder: frames, masks, background.png, motion.json, and shots with their exact answers.

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
    (folder / "motion.json").write_text(json.dumps(truth))
    jobs = []
    for job, answer in _shots(scene, other, shots, np.random.default_rng([seed, 6])):
        for part, picture in zip(("expected", "expected_masks"), answer):
            write_png(folder / part / f"{job['name']}.png", picture)
        jobs.append(job)
    (folder / "shots.json").write_text(json.dumps(jobs, indent=1))


def write_scenes(
    root: str | Path,
    recipe: Mapping[str, Mapping[str, Any]],
    *,
    only: Collection[str] | None = None,
    shots: int = 16,
    seed: int = 0,
    overwrite: bool = False,
) -> list[Path]:
    """Draws and writes a set of scenes; each scene's neighbour is the next one of the same frame size.

    Args:
        root: gets one folder per scene.
        recipe: for each scene's name the arguments of `draw_scene`, `seed` among them.
        only: names of the scenes to write; they come out as they would in the whole set.
        shots, seed, overwrite: as for `write_scene`.

    Returns:
        The scene folders, in the recipe's order.
    """
    names = list(recipe)
    sizes = {name: tuple(item.get("size", (64, 64))) for name, item in recipe.items()}
    draw = functools.cache(lambda name: draw_scene(**{**recipe[name], "size": sizes[name]}))
    written = []
    for k, name in enumerate(names):
        if only is None or name in only:
            following = [other for other in names[k + 1 :] + names[:k] if sizes[other] == sizes[name]][:1]
            other = (following[0], draw(following[0])) if following else None
            written.append(Path(root) / name)
            write_scene(written[-1], draw(name), other=other, shots=shots, seed=seed + k, overwrite=overwrite)
    return written
