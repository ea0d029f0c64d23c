"""Corrections: what a person painted of a mask on one frame, carried along the character's motion to all frames."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from eqvid_tf.data.images import open_image, to_rgb
from eqvid_tf.data.output import OutputError, write_text
from eqvid_tf.pixels.canvas import fit
from eqvid_tf.pixels.morphology import label
from eqvid_tf.pixels.resampling import move

FORMAT = 1  # of corrections.json
PAINTED = 0.3  # change of the coverage from which a pixel is painted anew
ALIKE = 30.0  # grey levels: a frame that differs by more from what was painted shows something else there


class CorrectionError(ValueError):
    """A painted mask that cannot be used: one line."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """A part of a character's mask as a person painted it.

    Attributes:
        clip: name of the clip.
        frames: number of its frames.
        character: its number there.
        frame: the index of the one that was painted.
        moves: whether what was painted goes along with the character; else it stays where it is.
        picture: the coverage, and where it was painted, [H, W, 2] float32 in [0, 1], as filmed.
    """

    clip: str
    frames: int
    character: int
    frame: int
    moves: bool
    picture: np.ndarray


def read_painting(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """Read a painted mask: the coverage, and where it was painted, [H, W, 2] float32 in [0, 1].

    Convention: white is the character, black is not. A picture with transparency says nothing where it is transparent;
        one without is the whole mask.

    Raises:
        ClipError: the file is missing or no picture.
        CorrectionError: it is of another size (height, width).
    """
    with open_image(Path(path)) as image:
        if image.has_transparency_data:
            painting = np.asarray(image.convert("RGBA").convert("LA"), np.float32) / 255
        else:
            grey = to_rgb(image).astype(np.float32).mean(-1) / 255
            painting = np.stack([grey, np.ones_like(grey)], -1)
    if painting.shape[:2] != tuple(size):
        (height, width), (rows, columns) = size, painting.shape[:2]
        raise CorrectionError(
            f"{path}: a mask of a frame of {width} x {height} must be as large; received {columns} x {rows}."
        )
    return painting


def changed_part(painting: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a painting [H, W, 2] changes of a mask [H, W] in [0, 1]: the coverage, and where, [H, W, 2]."""
    where = (painting[..., 1] > 0.5) & (np.abs(painting[..., 0] - mask) > PAINTED)
    return np.stack([painting[..., 0] * where, where], -1).astype(np.float32)


def split_by_motion(
    changed: np.ndarray,
    on_canvas: Callable[[np.ndarray], np.ndarray],
    coverage: np.ndarray,
    motions: np.ndarray,
    index: int,
) -> dict[bool, np.ndarray]:
    """Divide what was painted into what goes along with the character (True), and what stays where it is (False).

    What was added is the character's. Of what was taken out each connected part goes along or stays, whichever the
    masks of other frames hold more of.

    Shapes: changed [H, W, 2], see `changed_part`; the masks as they are on the canvas, coverage [T, h, w]; motions
        [T, 2, 3] there, from frame `index` to each -> [H, W, 2] each, without one that is empty.

    Args:
        changed: on the frame.
        on_canvas: brings a picture [H, W] of the frame to the canvas.
        coverage: of the character.
        motions: of the character.
        index: of the frame.
    """
    stays, others = np.zeros(changed.shape[:2], bool), np.delete(np.arange(len(coverage)), index)
    parts = label((changed[..., 1] > 0.5) & (changed[..., 0] < 0.5))
    for number in range(1, int(parts.max()) + 1):
        part = on_canvas((parts == number).astype(np.float32))
        along = np.mean([(move(part, motions[k]) * coverage[k]).sum() for k in others])
        stays |= (parts == number) & ((part * coverage[others].mean(0)).sum() > along)
    split = {True: changed * ~stays[..., None], False: changed * stays[..., None]}
    return {moves: part for moves, part in split.items() if part.any()}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """A correction at one size, with all that carries it.

    Attributes:
        picture: coverage times where it was painted, and where, [H, W, 2] float32 in [0, 1].
        frame: what was painted on, uint8 [H, W, 3].
        index: of that frame.
        motions: from that frame to each, [T, 2, 3]; None: it stays where it is.
        reach: pixels by which the motions may be wrong.
    """

    picture: np.ndarray
    frame: np.ndarray
    index: int
    motions: np.ndarray | None
    reach: int = 1

    def carried(self, frame: np.ndarray, index: int) -> np.ndarray:
        """The stroke in a frame uint8 [H, W, 3], as `picture`; what was added only where that looks the same."""
        if index == self.index or self.motions is None:
            return self.picture
        carried = np.clip(move(self.picture, self.motions[index]), 0, 1)
        added = carried[..., 0] > 0.5 * carried[..., 1]
        return carried * (~added | self._looks_same(frame, index))[..., None]

    def _looks_same(self, frame: np.ndarray, index: int) -> np.ndarray:
        assert self.motions is not None
        known = np.clip(move(self.frame.astype(np.float32), self.motions[index]), 0, 255)
        around = np.ones((2 * self.reach + 1,) * 2, np.uint8)
        low, high = cv2.erode(known, around), cv2.dilate(known, around)
        same = np.maximum(low - frame, frame - high).max(-1) < ALIKE
        return cv2.blur(same.astype(np.float32), (2 * self.reach + 1,) * 2) > 0.5

    def on_canvas(self, canvas: tuple[int, int], frame: np.ndarray, motions: np.ndarray | None) -> Stroke:
        """The same on the canvas, where the frame is uint8 [h, w, 3] and these are the motions."""
        return Stroke(picture=fit(self.picture, canvas), frame=frame, index=self.index, motions=motions)


def with_strokes(coverage: np.ndarray, carried: Iterable[np.ndarray]) -> np.ndarray:
    """A mask [H, W] in [0, 1] with what was painted on it; the last stroke counts where several say something."""
    for stroke in carried:
        coverage = coverage * (1 - stroke[..., 1]) + stroke[..., 0]
    return coverage


def read_corrections(folder: str | Path) -> tuple[Correction, ...]:
    """The corrections of a model folder, in the order in which they were made.

    Raises:
        OutputError: one is damaged, or of a later format.
    """
    path = Path(folder) / "corrections.json"
    if not path.is_file():
        return ()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise OutputError(f"{path}: its format is {found['format']!r}; this package reads {FORMAT}.")
        return tuple(_read(entry, path.parent) for entry in found["corrections"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path}: these are no corrections that can be read. Restore them, or remove it.") from error


def _read(entry: dict, folder: Path) -> Correction:
    with open_image(folder / entry["picture"]) as image:
        coverage, where = np.moveaxis(np.asarray(image.convert("LA"), np.float32) / 255, -1, 0)
    picture = np.stack([coverage * where, where], -1)
    return Correction(**{**entry, "picture": picture})


def write_corrections(corrections: Sequence[Correction], folder: Path) -> None:
    """Write corrections.json and corrections/N.png of a model folder; nothing where there are none.

    Args:
        corrections: all of them.
        folder: gets them.
    """
    entries = []
    for number, one in enumerate(corrections):
        name = f"corrections/{number}.png"
        (folder / "corrections").mkdir(exist_ok=True)
        Image.fromarray((one.picture * 255).round().astype(np.uint8), "LA").save(folder / name)
        entries.append({**vars(one), "picture": name})
    if entries:
        write_text(folder / "corrections.json", json.dumps({"format": FORMAT, "corrections": entries}, indent=1))
