"""Compares what the kit of `eqvid_tf.pixels` is made of with plain numpy, OpenCV and scipy.ndimage: time and result.

    pip install scipy
    python benchmarks/pixels.py

Each operation is timed on one thread at three sizes. A result is compared with that of plain numpy, as morphology was
done before OpenCV, or, where values are interpolated, with the formula in float64. Without SciPy it is left out. What a
package costs is its wheel as pip downloads it (not measured here), its files on disk, and the time of its import in a
fresh process in which numpy is loaded.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
import record
from PIL import Image

from eqvid_tf.pixels import morphology, resampling
from eqvid_tf.pixels.coordinates import source_from_target_pixels
from eqvid_tf.pixels.sheets import text_table

try:
    from scipy import ndimage
except ImportError:
    ndimage = None

SIZES = ((64, 64), (480, 854), (720, 1280))
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
SQUARE = np.ones((3, 3), bool)
MOTION = np.array([[0.97, -0.05, 0.03], [0.04, 1.02, -0.02]])


def numpy_dilate(mask: np.ndarray, steps: int) -> np.ndarray:
    for axis in (0, 1):
        mask, near = np.moveaxis(mask, axis, 0), np.moveaxis(mask, axis, 0).copy()
        for k in range(1, min(steps, len(mask) - 1) + 1):
            np.maximum(near[k:], mask[:-k], out=near[k:])
            np.maximum(near[:-k], mask[k:], out=near[:-k])
        mask = np.moveaxis(near, 0, axis)
    return mask


def numpy_close(mask: np.ndarray) -> np.ndarray:
    return ~numpy_dilate(~numpy_dilate(np.pad(mask, 2), 1), 1)[2:-2, 2:-2]


def numpy_reconstruct(seeds: np.ndarray, mask: np.ndarray) -> np.ndarray:
    reached, count = seeds & mask, 0
    while (grown := int(reached.sum())) != count:
        count = grown
        for axis in (0, 1):
            for flip in (slice(None), slice(None, None, -1)):
                front, free = (np.moveaxis(array, axis, 0)[flip] for array in (reached, mask))
                for k in range(1, len(front)):
                    front[k] |= front[k - 1] & free[k]
    return reached


def numpy_fill_holes(mask: np.ndarray) -> np.ndarray:
    free = np.pad(~mask, 1, constant_values=True)
    border = np.zeros_like(free)
    border[[0, -1]] = border[:, [0, -1]] = True
    return ~numpy_reconstruct(border, free)[1:-1, 1:-1]


def numpy_label(mask: np.ndarray) -> np.ndarray:
    labels = np.where(mask, np.arange(1, mask.size + 1, dtype=np.int32).reshape(mask.shape), 0)
    before = None
    while before is None or not np.array_equal(labels, before):
        before, wide = labels, np.pad(labels, 1)
        around = [wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1]]
        labels = np.where(mask, np.maximum.reduce([labels, *around]), 0)
    return labels


def numpy_box_sum(picture: np.ndarray) -> np.ndarray:
    padded = np.pad(picture, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def numpy_move(picture: np.ndarray, weights: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The formula of a resampling in float64: the sum over 4 x 4 pixels, weighted along each axis."""
    height, width = picture.shape
    source = source_from_target_pixels(MOTION, picture.shape, picture.shape)
    columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = (source[k, 0] * columns + source[k, 1] * rows + source[k, 2] - 0.5 for k in (0, 1))
    padded, moved = np.pad(picture.astype(np.float64), 8), np.zeros(picture.shape)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for j, i in np.ndindex(4, 4):
        row, column = np.clip(top + j + 7, 0, height + 15), np.clip(left + i + 7, 0, width + 15)
        moved += weights(np.abs(y - (top + j - 1))) * weights(np.abs(x - (left + i - 1))) * padded[row, column]
    return moved


def cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel, by the distance in pixels; a = -1 is Pillow's, -0.75 OpenCV's."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def linear(distance: np.ndarray) -> np.ndarray:
    return np.maximum(1 - distance, 0)


def opencv_move(picture: np.ndarray, method: int) -> np.ndarray:
    to_corner = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    source = to_corner @ source_from_target_pixels(MOTION, picture.shape, picture.shape) @ np.linalg.inv(to_corner)
    return cv2.warpAffine(picture, source[:2], picture.shape[::-1], flags=method | cv2.WARP_INVERSE_MAP)


def scipy_move(picture: np.ndarray, order: int) -> np.ndarray:
    to_corner = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    source = to_corner @ source_from_target_pixels(MOTION, picture.shape, picture.shape) @ np.linalg.inv(to_corner)
    flipped = source[[1, 0, 2]][:, [1, 0, 2]]
    return ndimage.affine_transform(picture, flipped, order=order)


def opencv_close(mask: np.ndarray) -> np.ndarray:
    """Without a border around the mask; there it grows towards the border."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, SQUARE.astype(np.uint8)) > 0


def opencv_fill_holes(mask: np.ndarray) -> np.ndarray:
    """By labels, instead of a flood from the border."""
    labels = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4)[1]
    return (labels != labels[0, 0])[1:-1, 1:-1]


def opencv_blur(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)


def numpy_blur(picture: np.ndarray) -> np.ndarray:
    padded = np.pad(picture, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4


def scipy_blur(picture: np.ndarray) -> np.ndarray:
    binomial = np.array([0.25, 0.5, 0.25])
    return ndimage.correlate1d(ndimage.correlate1d(picture, binomial, 0, mode="nearest"), binomial, 1, mode="nearest")


def masks(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mask of blobs with holes and specks, seeds in some of them, and a picture in [0, 255] float32."""
    rng = np.random.default_rng(0)
    coarse = rng.random((size[0] // 8 + 1, size[1] // 8 + 1)).astype(np.float32)
    smooth = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    mask = (smooth > 0.5) ^ (rng.random(size) < 0.02)
    return mask, mask & (rng.random(size) < 0.002), (255 * smooth).astype(np.float32)


def operations(size: tuple[int, int]) -> dict[str, dict[str, Callable[[], np.ndarray]]]:
    """For each operation its reference first, by the name of who does it."""
    mask, seeds, picture = masks(size)
    rows, columns = size
    found = {
        "dilation of a mask by 1": {
            "numpy": lambda: numpy_dilate(mask, 1),
            "kit": lambda: morphology.dilate(mask, 1),
            "scipy": lambda: ndimage.binary_dilation(mask, SQUARE),
        },
        "dilation of a mask by 15": {
            "numpy": lambda: numpy_dilate(mask, 15),
            "kit": lambda: morphology.dilate(mask, 15),
            "scipy": lambda: ndimage.maximum_filter(mask, 31, mode="constant"),
        },
        "dilation of a picture by 3": {
            "numpy": lambda: numpy_dilate(picture, 3),
            "kit": lambda: morphology.dilate(picture, 3),
            "scipy": lambda: ndimage.maximum_filter(picture, 7, mode="nearest"),
        },
        "closing": {
            "numpy": lambda: numpy_close(mask),
            "kit": lambda: morphology.close(mask),
            "opencv, no border": lambda: opencv_close(mask),
            "scipy": lambda: ndimage.binary_closing(np.pad(mask, 2), SQUARE)[2:-2, 2:-2],
        },
        "filling of holes": {
            "numpy": lambda: numpy_fill_holes(mask),
            "kit": lambda: morphology.fill_holes(mask),
            "opencv, labelled": lambda: opencv_fill_holes(mask),
            "scipy": lambda: ndimage.binary_fill_holes(mask),
        },
        "reconstruction from seeds": {
            "numpy": lambda: numpy_reconstruct(seeds, mask),
            "kit": lambda: morphology.reconstruct(seeds, mask),
            "scipy": lambda: ndimage.binary_propagation(seeds, mask=mask),
        },
        "labelling": {
            "numpy": lambda: by_place(numpy_label(mask)),
            "kit": lambda: by_place(morphology.label(mask)),
            "scipy": lambda: by_place(ndimage.label(mask)[0]),
        },
        "box sums of a mask": {
            "numpy": lambda: numpy_box_sum(mask.astype(np.float32)),
            "kit": lambda: morphology.box_sum(mask.astype(np.float32)),
            "opencv": lambda: opencv_box_sum(mask.astype(np.float32)),
            "scipy": lambda: 9 * ndimage.uniform_filter(mask.astype(np.float32), 3, mode="constant"),
        },
        "box sums of a picture": {
            "numpy": lambda: numpy_box_sum(picture),
            "kit": lambda: morphology.box_sum(picture),
            "opencv": lambda: opencv_box_sum(picture),
            "scipy": lambda: 9 * ndimage.uniform_filter(picture, 3, mode="constant"),
        },
        "blur of 3 x 3": {
            "numpy": lambda: numpy_blur(picture),
            "kit": lambda: opencv_blur(picture),
            "scipy": lambda: scipy_blur(picture),
        },
        "bicubic move, a = -1": {
            "numpy": lambda: numpy_move(picture, functools.partial(cubic, a=-1.0)),
            "kit": lambda: resampling.move(picture, MOTION),
        },
        "bicubic move, a = -0.75": {
            "numpy": lambda: numpy_move(picture, functools.partial(cubic, a=-0.75)),
            "opencv": lambda: opencv_move(picture, cv2.INTER_CUBIC),
        },
        "bilinear move": {
            "numpy": lambda: numpy_move(picture, linear),
            "kit": lambda: resampling.move(picture, MOTION, resample="bilinear"),
            "opencv": lambda: opencv_move(picture, cv2.INTER_LINEAR),
            "scipy": lambda: scipy_move(picture, 1),
        },
        "bilinear values at 4800 points": points(picture, rows, columns),
    }
    left_out = () if ndimage else ("scipy",)
    return {name: {who: call for who, call in each.items() if who not in left_out} for name, each in found.items()}


def points(picture: np.ndarray, rows: int, columns: int) -> dict[str, Callable[[], np.ndarray]]:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, columns - 1, 4800), rng.uniform(0, rows - 1, 4800)
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    return {
        "numpy": lambda: resampling.sample(picture.astype(np.float64), x, y),
        "kit": lambda: resampling.sample(picture, x, y),
        "opencv": lambda: cv2.remap(picture, x32, y32, cv2.INTER_LINEAR).ravel(),
        "scipy": lambda: ndimage.map_coordinates(picture, np.stack([y, x]), order=1, mode="nearest"),
    }


def opencv_box_sum(picture: np.ndarray) -> np.ndarray:
    return cv2.boxFilter(picture, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)


def by_place(labels: np.ndarray) -> np.ndarray:
    """Labels by the last place of each region, as numbers of regions differ between libraries."""
    last = np.zeros(labels.max() + 1, np.int64)
    np.maximum.at(last, labels.ravel(), np.arange(1, labels.size + 1))
    last[0] = 0
    return last[labels]


def measured(calls: dict[str, Callable], seconds: float, moved: bool) -> dict[str, dict]:
    """Milliseconds of each call, by turns, and the largest difference to numpy's; of moved pictures, in the middle."""
    results = {who: np.asarray(call(), np.float64) for who, call in calls.items()}
    times, end = {who: [] for who in calls}, time.perf_counter() + seconds
    while len(times["numpy"]) < 3 or time.perf_counter() < end:
        for who, call in calls.items():
            start = time.perf_counter()
            call()
            times[who].append(1e3 * (time.perf_counter() - start))
    reference, figures = results["numpy"], {}
    inner = tuple(slice(side // 8, side - side // 8) for side in reference.shape) if moved else ...
    for who, result in results.items():
        low, middle, high = (round(float(value), 3) for value in np.quantile(times[who], (0.25, 0.5, 0.75)))
        difference = float(np.abs(result[inner] - reference[inner]).max())
        difference = float(f"{difference:.2g}")
        figures[who] = {"milliseconds": middle, "quartiles": [low, high], "largest difference": difference}
    return figures


def cost(package: str, module: str, runs: int = 5) -> dict:
    """Megabytes on disk, and seconds of processor time of an import, after numpy."""
    distribution = importlib.metadata.distribution(package)
    size = sum(path.stat().st_size for file in distribution.files or () if (path := file.locate()).is_file())
    code = f"import numpy, time; start = time.process_time(); import {module}; print(time.process_time() - start)"
    command = [sys.executable, "-c", code]
    times = [float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(runs)]
    needs = [need for need in distribution.requires or () if "extra ==" not in need]
    return {
        "version": distribution.version,
        "needs": needs,
        "megabytes on disk": round(size / 1e6, 1),
        "seconds of import": round(statistics.median(times), 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="benchmarks/results/pixels.json")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each operation and size, at least (default: 1)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    packages = {"opencv-python-headless": "cv2", **({"scipy": "scipy.ndimage"} if ndimage else {})}
    figures = {"packages": {package: cost(package, module) for package, module in packages.items()}, "operations": {}}
    for size in SIZES:
        for name, calls in operations(size).items():
            found = measured(calls, args.seconds, "move" in name)
            figures["operations"].setdefault(name, {})[f"{size[0]}x{size[1]}"] = found
    rows = [
        [name, size, who, values["milliseconds"], f"{values['largest difference']:g}"]
        for name, sizes in figures["operations"].items()
        for size, found in sizes.items()
        for who, values in found.items()
    ]
    print(text_table(rows, ["operation", "size", "by", "ms", "largest difference"]))
    record.write(args.output, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
