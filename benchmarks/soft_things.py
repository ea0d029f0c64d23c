"""Measure what lands in which layer of a drawn clip with a shadow, grain, drifting exposure or compression.

    PYTHONPATH=. python benchmarks/soft_things.py [--minutes 3] [--work DIR] [--json FILE] [--page FILE]
        [--picture FILE] [--check]

One drawn scene, made worse in one way at a time, is trained on by itself and separated. The truth is that of the clean
scene. Results stay in --work, so that a benchmark that was stopped goes on where it was. The page gets the figures as a
table between <!-- table --> and <!-- /table -->.
"""

from __future__ import annotations

import argparse
import io
import sys
from functools import partial
from pathlib import Path

import numpy as np
from measured import cached, on_a_page, rounded
from PIL import Image, ImageFilter

from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.sheets import contact_sheet, text_table
from eqvid_tf.synthetic.scenes import draw_scene

ROOT = Path(__file__).parents[1]
SCENE = {"seed": 21, "frames": 40, "pace": 1.2}
SHADOW, SHADOW_DOWN, SHADOW_RIGHT = 0.4, 5, 4  # share of the brightness that it takes; pixels from the character
GRAIN, DRIFT, QUALITY = 6.0, 0.1, 12  # grey levels; log gain; of a JPEG
SHEET_FRAMES = (8, 22)


def add_shadow(picture, shadow) -> np.ndarray:
    return picture * (1 - SHADOW * shadow[..., None])


def shadow_of(mask) -> np.ndarray:
    """Where a character's shadow falls, [H, W] in [0, 1]: its outline, lower, to the right, blurred, not on itself."""
    mask = mask.astype(np.float32) / 255
    fallen = np.zeros_like(mask)
    fallen[SHADOW_DOWN:, SHADOW_RIGHT:] = mask[:-SHADOW_DOWN, :-SHADOW_RIGHT]
    blurred = Image.fromarray((fallen * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    return np.asarray(blurred, np.float32) / 255 * (1 - mask)


def compress(picture) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file).convert("RGB"), np.float32)


def clips(scene) -> dict[str, np.ndarray]:
    """Name -> frames [T, H, W, 3] uint8: the clean clip, and one for each soft thing."""
    rng, frames = np.random.default_rng(0), scene.frames.astype(np.float32)
    shadow = np.stack([add_shadow(frame, shadow_of(mask)) for frame, mask in zip(frames, scene.masks)])
    gain = np.exp(DRIFT * np.sin(np.linspace(0, 3 * np.pi, len(frames))))[:, None, None, None]
    made = {
        "clean": frames,
        "a shadow": shadow,
        "film grain": frames + rng.normal(0, GRAIN, frames.shape),
        "exposure that drifts": frames * gain,
        "compression blocks": np.stack([compress(frame) for frame in frames]),
    }
    return {name: np.clip(array, 0, 255).round().astype(np.uint8) for name, array in made.items()}


def separate(name: str, frames: np.ndarray, scene, work: Path, minutes: float) -> dict:
    """Train on a clip, separate it into work/NAME/layers, and measure the layers."""
    from eqvid_tf.config import Config, TrainConfig
    from eqvid_tf.evaluation.scorecard import mask_iou, psnr
    from eqvid_tf.model_folder import load
    from eqvid_tf.separation.characters import ClipCharacters
    from eqvid_tf.separation.folder import write_layers
    from eqvid_tf.training.train import configure, train

    place = work / name.replace(" ", "-")
    for index, frame in enumerate(frames):
        write_png(place / "frames" / f"{index:05d}.png", frame)
    clip = open_clip(place / "frames", cache=None)
    train(configure(Config(train=TrainConfig(minutes=minutes)), [clip]), [clip], place / "run")
    write_layers(ClipCharacters(load(place / "run"), clip), place / "layers")
    masks = np.stack([read_image(path)[..., 0] for path in sorted((place / "layers/masks").iterdir())]) / 255
    shadow = np.stack([shadow_of(mask) for mask in scene.masks]) > 0.5
    return rounded(
        {
            "iou": mask_iou(scene.masks, masks),
            "bg_psnr": psnr(scene.background / 255, read_image(place / "layers/background.png") / 255),
            "of the shadow's place in the mask": float((masks[shadow] > 0.5).mean()),
        }
    )


def sheet(work: Path, names) -> np.ndarray:
    from eqvid_tf.evaluation.comparison import read_rgba

    rows = []
    for name in names:
        place = work / name.replace(" ", "-")
        row = [read_image(place / "frames" / f"{SHEET_FRAMES[0]:05d}.png"), read_image(place / "layers/background.png")]
        for index in SHEET_FRAMES:
            row += [
                read_image(place / "layers/masks" / f"{index:05d}.png"),
                read_rgba(place / "layers/character" / f"{index:05d}.png"),
            ]
        rows.append(row)
    return contact_sheet(
        rows,
        column_titles=["frame", "background", "mask", "character", "mask, later", "character, later"],
        row_titles=list(names),
    )


def table(figures: dict) -> str:
    columns = list(next(iter(figures["clips"].values())))
    return (
        text_table([[name, *found.values()] for name, found in figures["clips"].items()], ["clip", *columns], digits=2)
        + "\n"
    )


def run(args: argparse.Namespace) -> dict:
    scene, found = draw_scene(**SCENE), {}
    for name, frames in clips(scene).items():
        once = partial(separate, name, frames, scene, args.work, args.minutes)
        found[name] = cached(
            args.work, name.replace(" ", "-"), args.work, {"scene": SCENE, "minutes": args.minutes}, once
        )
        print(name, found[name], flush=True)
    write_png(args.picture, sheet(args.work, found))
    return {"scene": SCENE, "minutes": args.minutes, "clips": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, each clip (default: 3)")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/soft_things.png", metavar="FILE")
    return on_a_page(parser, "soft_things", run, table)


if __name__ == "__main__":
    sys.exit(main())
