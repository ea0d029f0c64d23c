"""Draws the scenes of recipe.json into a folder and compares them with manifest.json.

Example: python datasets/drawn/build.py /tmp/drawn
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.sheets import contact_sheet
from eqvid_tf.synthetic.scenes import draw_scene, write_scene, write_scenes

HERE = Path(__file__).parent
PARTS = ("frames", "masks", "background.png", "expected", "expected_masks")


def fingerprint(scene: Path) -> dict[str, str]:
    """For each part of a scene: SHA-256 of its decoded pixels, picture after picture in name order."""
    prints = {}
    for part in PARTS:
        digest = hashlib.sha256()
        for path in sorted((scene / part).iterdir()) if (scene / part).is_dir() else [scene / part]:
            pixels = np.asarray(Image.open(path))
            digest.update(f"{path.stem} {pixels.shape} ".encode() + pixels.tobytes())
        prints[part] = digest.hexdigest()
    return prints


def overview(folders: list[Path], width: int = 384) -> np.ndarray:
    """A strip of frames for each scene, from its first to its last."""
    strips = []
    for folder in folders:
        paths = sorted((folder / "frames").iterdir())
        count = width // np.asarray(Image.open(paths[0])).shape[1]
        chosen = [paths[round(k * (len(paths) - 1) / (count - 1))] for k in range(count)]
        strips.append([np.concatenate([np.asarray(Image.open(path)) for path in chosen], axis=1)])
    titles = ["from the first frame to the last"]
    return contact_sheet(strips, column_titles=titles, row_titles=[folder.name for folder in folders], scale=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="gets one folder per scene")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scenes alone")
    parser.add_argument("--overwrite", action="store_true", help="replace scenes that are there already")
    parser.add_argument(
        "--update", action="store_true", help="rewrite sample/, overview.png and manifest.json, for a changed recipe"
    )
    args = parser.parse_args()
    recipe = json.loads((HERE / "recipe.json").read_text())
    if unknown := set(args.only or ()) - set(recipe["scenes"]):
        parser.error(f"no scene {', '.join(sorted(unknown))}; there are {', '.join(recipe['scenes'])}")
    if args.only and args.update:
        parser.error("--update writes the whole manifest; leave out --only")
    settings = {"shots": recipe["shots"], "seed": recipe["seed"], "overwrite": args.overwrite}
    try:
        folders = write_scenes(args.output, recipe["scenes"], only=args.only, **settings)
    except FileExistsError as error:
        parser.error(str(error).replace("overwrite=True", "--overwrite"))
    built = {folder.name: fingerprint(folder) for folder in folders}
    if args.update:
        write_scene(HERE / "sample", draw_scene(**recipe["sample"]), shots=4, overwrite=True)
        write_png(HERE / "overview.png", overview(folders))
        built["sample"] = fingerprint(HERE / "sample")
        (HERE / "manifest.json").write_text(json.dumps({"sha256 of pixels": built}, indent=1) + "\n")
    expected = json.loads((HERE / "manifest.json").read_text())["sha256 of pixels"]
    wrong = [f"{name}/{part}" for name, parts in built.items() for part in parts if parts[part] != expected[name][part]]
    print(f"{len(folders)} scenes in {args.output}")
    if wrong:
        raise SystemExit(f"not as in manifest.json: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
