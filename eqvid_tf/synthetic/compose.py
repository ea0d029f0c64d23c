"""A character over a background at exactly known poses: frames, masks and motions.

Convention: normalized coordinates with the frame's outer edges at -1 and +1, x right, y down; a motion is forward and
carries the character's content of one frame to where it is in another; a mask is coverage.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.resampling import sample
from eqvid_tf.synthetic.drawing import quantized

FINE = 4  # samples a pixel along each axis: coverage in steps of 1/16


def frame_from_sprite(centre: np.ndarray, turn: float, zoom: float, aspect: float) -> np.ndarray:
    """The matrix that places the sprite's square [-1, 1]^2 on a frame with aspect = width / height, [3, 3]."""
    c, s = math.cos(turn) * zoom, math.sin(turn) * zoom
    square = np.array([[c, -s, centre[0] * aspect], [s, c, centre[1]], [0, 0, 1]])
    return np.diag([1 / aspect, 1, 1]) @ square


def rasterize(cell: np.ndarray, frame_from_cell: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw a cell onto an empty frame; each pixel is the mean of `FINE` x `FINE` samples.

    Shapes: premultiplied RGBA [h, w, 4], [3, 3] -> [*size, 4] float64.
    """
    frame, scale = np.zeros((*size, 4)), np.array([size[1], size[0]]) / 2
    corners = (frame_from_cell @ np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, 1, 1, 1]]))[:2].T
    low = np.maximum(np.floor((corners.min(0) + 1) * scale).astype(int), 0)
    high = np.minimum(np.ceil((corners.max(0) + 1) * scale).astype(int), [size[1], size[0]])
    width, height = high - low
    if width <= 0 or height <= 0:
        return frame
    x, y = (
        ((np.arange(n * FINE) + 0.5) / FINE + start) / half - 1 for n, start, half in zip((width, height), low, scale)
    )
    cell_from_frame = np.linalg.inv(frame_from_cell)
    u, v = (cell_from_frame[k, 0] * x + cell_from_frame[k, 1] * y[:, None] + cell_from_frame[k, 2] for k in (0, 1))
    padded = np.pad(cell, ((1, 1), (1, 1), (0, 0)))  # fades out over its border
    samples = sample(padded, ((u + 1) * cell.shape[1] + 1) / 2, ((v + 1) * cell.shape[0] + 1) / 2)
    frame[low[1] : high[1], low[0] : high[0]] = samples.reshape(height, FINE, width, FINE, 4).mean((1, 3))
    return frame


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """A character's cells, a background and a pose for each frame; it draws frames, masks and motions.

    Convention: frames and masks are uint8; `motion(i, j)` is forward, from frame i to frame j.

    Shapes:
        cells [K, h, w, 4] uint8, straight alpha; background [H, W, 3] uint8;
        centre [T, 2]; turn, zoom, cell [T].
    """

    cells: np.ndarray
    background: np.ndarray
    centre: np.ndarray
    turn: np.ndarray
    zoom: np.ndarray
    cell: np.ndarray

    def __len__(self) -> int:
        return len(self.centre)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self.background.shape[0], self.background.shape[1]

    def pose(self, index: int) -> np.ndarray:
        """The matrix from sprite to frame coordinates, [3, 3]."""
        return frame_from_sprite(self.centre[index], self.turn[index], self.zoom[index], self.size[1] / self.size[0])

    def motion(self, start: int, end: int) -> np.ndarray:
        """The forward motion [2, 3] of the character between two frames."""
        return (self.pose(end) @ np.linalg.inv(self.pose(start)))[:2]

    @property
    def motions(self) -> np.ndarray:
        """The forward motions [T - 1, 2, 3], a step for each pair of frames."""
        return np.stack([self.motion(i, i + 1) for i in range(len(self) - 1)])

    def layer(self, index: int, motion: np.ndarray | None = None) -> np.ndarray:
        """The character alone, premultiplied RGBA [H, W, 4] in [0, 1]; moved, if a motion is given."""
        pose = self.pose(index) if motion is None else homogeneous(motion) @ self.pose(index)
        cell = self.cells[self.cell[index]] / 255.0
        return rasterize(np.concatenate([cell[..., :3] * cell[..., 3:], cell[..., 3:]], -1), pose, self.size)

    def picture(
        self, index: int, motion: np.ndarray | None = None, background: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frame [H, W, 3] and mask [H, W], uint8; moved, or before another background, if given."""
        layer = self.layer(index, motion)
        background = self.background if background is None else background
        return quantized(layer[..., :3] + (1 - layer[..., 3:]) * background / 255), quantized(layer[..., 3])

    @property
    def frames(self) -> np.ndarray:
        """The frames [T, H, W, 3] uint8, drawn anew at each call."""
        return np.stack([self.picture(i)[0] for i in range(len(self))])

    @property
    def masks(self) -> np.ndarray:
        """The masks [T, H, W] uint8, drawn anew at each call."""
        return np.stack([self.picture(i)[1] for i in range(len(self))])
