"""A clip's layers as files."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import numpy as np

from eqvid_tf.data.clips import Clip
from eqvid_tf.data.writers import write_png
from eqvid_tf.separation.characters import ClipCharacters, SeenFrame
from eqvid_tf.separation.cutout import straight_alpha, together
from eqvid_tf.separation.sightings import SHOWS, Sightings

PRESENT = 0.02  # share of a character that a frame has to show, for a step of it to be a motion


def write_layers(characters: ClipCharacters, folder: Path, *, plates: bool = False) -> None:
    """Write the layers of a clip, at its own size, into a folder; docs/formats.md names the files.

    Masks, characters and motions are those of the frames as they were filmed. The background, where the camera sways,
    is as the clip's reference frame shows it; where it travels it is all that the frames see. Where the estimator is
    'known' and the clip has no motions, there is no motion.json. With `plates`, and where the camera travels, the
    background alone as each frame sees it, and the camera's motion, are written, too.
    """
    clip = characters.clip.filmed
    motions = _motions(characters)  # before any file: those that are given may be at fault
    write_png(folder / "background.png", _background(characters))
    unseen = characters.unseen
    write_png(folder / "unseen.png", unseen)
    text = {"unseen": {"pixels": int(unseen.sum()), "share": float(unseen.mean())}}
    (folder / "background.json").write_text(json.dumps(text), encoding="utf-8")
    seen = {number: Sightings(characters.clip.count) for number in characters.layers}

    plates = plates or characters.clip.travels

    def write(one: SeenFrame) -> None:
        for number, layer in one.cut_outs.items():
            seen[number].add(one.index, layer[..., 3] > SHOWS)
        _write_frame(characters, one, folder)
        if plates:
            write_png(folder / "plates" / f"{one.index:05d}.png", characters.plate_of(one), quick=True)

    collections.deque(characters.each_frame(write), 0)
    if plates:
        _write_camera(characters, folder)
    for number, motion in motions.items():
        _write_motion(folder / "characters" / str(number) / "motion.json", clip, motion, seen[number])
    if motions:
        shutil.copyfile(folder / "characters" / str(min(motions)) / "motion.json", folder / "motion.json")
    named = lambda number: {"number": number, "name": characters.names[number]}
    listed = [{**named(number), **found.summary(clip.size)} for number, found in seen.items()]
    (folder / "characters.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")


def _background(characters: ClipCharacters) -> np.ndarray:
    """The background as a picture: RGB, and where the camera travels RGBA, transparent where no frame looks."""
    picture, clip = np.clip(characters.background, 0, 255).round().astype(np.uint8), characters.clip
    if not clip.travels:
        return picture
    return np.dstack([picture, 255 * clip.shown.astype(np.uint8)]) * clip.shown[..., None]


def _write_frame(characters: ClipCharacters, seen: SeenFrame, folder: Path) -> None:
    """Write what a frame shows of each character, its shadow where it casts one, and all characters together."""
    index, cut_outs = seen.index, seen.cut_outs
    for number, layer in cut_outs.items():
        place, layers = folder / "characters" / str(number), characters.layers[number]
        _write_cut_out(place, index, straight_alpha(layer))
        if layers.casts_shadow:
            shadow = straight_alpha(layers.shadow_as_filmed(index, seen.alone[number]))
            write_png(place / "shadow" / f"{index:05d}.png", shadow, quick=True)
    if len(cut_outs) > 1:
        _write_cut_out(folder, index, together(list(cut_outs.values())))
        return
    for part in ("masks", "character"):
        (folder / part).mkdir(exist_ok=True)
        shutil.copyfile(place / part / f"{index:05d}.png", folder / part / f"{index:05d}.png")


def _write_camera(characters: ClipCharacters, folder: Path) -> None:
    clip = characters.clip
    motion = clip.motion_as_filmed(np.tile(np.eye(2, 3), (clip.count - 1, 1, 1)))
    text = {"size": list(clip.filmed.size), "motion": motion.tolist()}
    (folder / "camera.json").write_text(json.dumps(text), encoding="utf-8")


def _motions(characters: ClipCharacters) -> dict[int, np.ndarray]:
    """The motions of the characters between the frames as filmed, [T - 1, 2, 3] each, by number; none where unknown."""
    clip = characters.clip
    if not characters.first.model.T.learned and not clip.has_motion:
        return {}
    return {number: layers.motion_as_filmed for number, layers in characters.layers.items()}


def _write_motion(path: Path, clip: Clip, motion: np.ndarray, seen: Sightings) -> None:
    """Write the motions of a character; a step from or to a frame in which it is absent is the identity."""
    absent = seen.share < PRESENT
    if not absent.all():
        motion = np.where((absent[:-1] | absent[1:])[:, None, None], np.eye(2, 3), motion)
    text = {"size": list(clip.size), "fps": clip.fps, "motion": motion.tolist(), "shown": seen.share.tolist()}
    path.write_text(json.dumps(text), encoding="utf-8")


def _write_cut_out(folder: Path, index: int, picture: np.ndarray) -> None:
    write_png(folder / "masks" / f"{index:05d}.png", picture[..., 3], quick=True)
    write_png(folder / "character" / f"{index:05d}.png", picture, quick=True)
