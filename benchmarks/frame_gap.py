"""Does the affine model hold better as frames per second go up? Scene loss and motion error against the frame gap.

    PYTHONPATH=. python benchmarks/frame_gap.py --group NAME RUN CLIP... [--group ...] --json FILE [--plot FILE]
        [--page FILE]

Every k-th frame of a clip is the clip at a k-th of its frames per second. A group is a model and clips that it was
trained on; its figures are means over pairs, then over its clips (those that are long enough for all of the gaps).
`--each-gap NAME CLIP...` adds a group in which gap k is measured by a model that was trained on pairs k frames apart
and no others (--steps for each). What is done is kept in --work, trainings half way through too, so that a run that was
stopped goes on where it was.

Of each pair (x, x') k frames apart, in both directions, on the model's canvas, in grey levels of 255 or px of a frame
64 px high:

scene loss    |g(T f(x) + h(x)) - x'|, mean over the frame, and over the character's region (weighted by its mask
              in x'); in that region also with no motion, with the true motion where there is truth, and at gap 0:
              |g(f(x) + h(x)) - x|. explained: how far T takes the loss from that with no motion down to that at
              gap 0, 1 all the way
residual      |T x - x'| where x, moved, and x' both show the character: its appearance after alignment, without g; also
              with the true motion. overlap: soft IoU of the moved mask and that of x'
error         corner error of T against the truth
composition   corner distance of T from the product of the k gap-1 estimates between x and x': a stand-in for the error
              where there is no truth. It holds the drift of the product too, and says nothing of a bias that both share

Masks are the scene's own where it has them, else the model's. A pair counts where the character is in view throughout
(at least a quarter of its middle area in every frame from x to x').
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from pathlib import Path
from unittest import mock

import numpy as np
from measured import cached, corner_pixels, motion_between, page_with, rounded, save
from motion_error import GAPS
from record import write

from eqvid_tf.data.output import write_text
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.sheets import text_table

BATCH = 16
SEEN = 0.25  # of the clip's middle mask area: what a frame must show of the character
COLUMNS = (
    "frame",
    "character",
    "given",
    "unmoved",
    "still",
    "explained",
    "residual",
    "residual given",
    "overlap",
    "error",
    "composition",
)
PAGE_COLUMNS = {  # of the table in docs/frame_rate.md; the file of figures has all of them
    "character": "scene loss",
    "given": "true motion",
    "unmoved": "no motion",
    "still": "gap 0",
    "explained": "explained",
    "error": "error, px",
}


@dataclasses.dataclass(frozen=True)
class Seen:
    """A clip as a model sees it, on its canvas, with what is known of it."""

    layers: object  # eqvid_tf.ClipLayers
    frames: np.ndarray  # [T, h, w, 3] uint8
    masks: np.ndarray  # [T, h, w] in [0, 1]
    steps: np.ndarray | None  # true motions [T - 1, 2, 3] in the clip's coordinates
    centre: np.ndarray  # [T, 2], of the character, in the clip's coordinates
    own_masks: bool  # whether the masks are the scene's

    def on_canvas(self, motions) -> np.ndarray:
        """Motions [N, 2, 3] in the clip's coordinates, in those of the canvas, float32."""
        from eqvid_tf.pixels.canvas import canvas_from_clip

        there = canvas_from_clip(self.layers.clip.size, self.layers.canvas)
        return (there @ homogeneous(motions) @ np.linalg.inv(there))[:, :2].astype(np.float32)


def see(model, path: Path) -> Seen:
    from eqvid_tf.data.clips import open_clip, read_image
    from eqvid_tf.pixels.canvas import canvas_from_clip, fit
    from eqvid_tf.pixels.resampling import move_with_validity
    from eqvid_tf.separation.layers import ClipLayers

    clip = open_clip(path, cache=None)
    layers = ClipLayers(model, clip)
    own = path.is_dir() and (path / "masks").is_dir()
    if own:
        masks = [read_image(file)[..., 0] for file in sorted((path / "masks").iterdir())]
        if layers.clip.moves:  # layers has the clip without that
            poses = layers.clip.view.from_frame
            masks = [move_with_validity(mask, pose, layers.clip.size)[0] for mask, pose in zip(masks, poses)]
        masks = np.stack([fit(mask, layers.canvas) for mask in masks])
    else:
        masks = layers.coverage
    masks = masks.astype(np.float32) / 255
    truth = json.loads((path / "motion.json").read_text(encoding="utf-8")) if clip.has_motion else {}
    if "pose_centre" in truth:
        centre = np.array(truth["pose_centre"])
    else:
        back = np.linalg.inv(canvas_from_clip(clip.size, layers.canvas))
        centre = np.stack([(back @ [*centroid(mask), 1])[:2] for mask in masks])
    return Seen(layers, layers.canvas_frames, masks, clip.motion() if clip.has_motion else None, centre, own)


def centroid(mask: np.ndarray) -> np.ndarray:
    """(x, y) of a mask's centre in normalized coordinates."""
    height, width = mask.shape
    x, y = (np.arange(width) + 0.5) * 2 / width - 1, (np.arange(height) + 0.5) * 2 / height - 1
    return np.array([(mask.sum(0) * x).sum(), (mask.sum(1) * y).sum()]) / max(float(mask.sum()), 1e-6)


def visible_pairs(areas: np.ndarray, gap: int, most: int) -> list[tuple[int, int]]:
    """Pairs of frames `gap` apart between which the character is never out of view, at most `most`, evenly spread."""
    hidden = np.concatenate([[0], np.cumsum(areas < SEEN * np.median(areas))])
    starts = [i for i in range(len(areas) - gap) if hidden[i + gap + 1] == hidden[i]]
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int)) if starts else []
    return [(starts[k], starts[k] + gap) for k in chosen]


def drawing(model):
    """A compiled function of x, its mask and a motion: g(T f(x) + h(x)), and T of the masked frame and of the mask."""
    import tensorflow as tf

    from eqvid_tf.core import affine
    from eqvid_tf.core.sampler import warp

    @tf.function(autograph=False, reduce_retracing=True)
    def draw(x, mask, motion):
        theta = affine.invert(motion)
        rendered = model.cut(model.g(warp(model.f(x), theta) + model.h(x)), x)
        return tf.cast(rendered, tf.float32), warp(tf.concat([x * mask, mask], -1), theta)

    return draw


def measure(model, path: Path, gaps: tuple[int, ...], most: int) -> dict:
    """Means over pairs of one clip: {"gaps": {gap: figures}, ...}."""
    seen, draw = see(model, path), drawing(model)
    chained = {}
    for sign in (1, -1):
        steps = [(i, i + 1)[::sign] for i in range(len(seen.frames) - 1)]
        chained[sign] = seen.layers.estimate_motions(steps)[0]
    found = {}
    for gap in gaps:
        forward = visible_pairs(seen.masks.sum((1, 2)), gap, most)
        pairs = forward + [(j, i) for i, j in forward]
        if pairs:
            found[str(gap)] = {"pairs": len(pairs), **of_gap(seen, draw, pairs, chained)}
    fps = seen.layers.clip.fps
    return {
        "frames": len(seen.frames),
        "fps": fps,
        "canvas": list(seen.layers.canvas),
        "true masks": seen.own_masks,
        "true motion": seen.steps is not None,
        "gaps": found,
    }


def of_gap(seen: Seen, draw, pairs, chained: dict[int, np.ndarray]) -> dict:
    motions, confidences = seen.layers.estimate_motions(pairs)
    still = np.tile(np.eye(2, 3), (len(pairs), 1, 1))
    columns = {"confidence": confidences, **appearance(seen, draw, pairs, motions)}
    columns["unmoved"] = appearance(seen, draw, pairs, still)["character"]
    columns["still"] = appearance(seen, draw, [(i, i) for i, _ in pairs], still)["character"]
    size = seen.layers.clip.size
    if abs(pairs[0][1] - pairs[0][0]) > 1:
        products = [product_of(chained, i, j) for i, j in pairs]
        columns["composition"] = [
            corner_pixels(p, m, seen.centre[i], size) for p, m, (i, _) in zip(products, motions, pairs)
        ]
    if seen.steps is not None:
        true = np.stack([motion_between(seen.steps, i, j) for i, j in pairs])
        given = appearance(seen, draw, pairs, true)
        columns |= {"given": given["character"], "residual given": given["residual"]}
        columns["error"] = [corner_pixels(t, m, seen.centre[i], size) for t, m, (i, _) in zip(true, motions, pairs)]
    return {key: float(np.mean(values)) for key, values in columns.items()}


def product_of(chained: dict[int, np.ndarray], first: int, second: int) -> np.ndarray:
    """The product [2, 3] of the gap-1 estimates from one frame to another, each taken in the direction of travel."""
    if first < second:
        return motion_between(chained[1], first, second)
    motion = np.eye(3)
    for step in homogeneous(chained[-1])[second:first][::-1]:
        motion = step @ motion
    return motion[:2]


def appearance(seen: Seen, draw, pairs, motions) -> dict[str, np.ndarray]:
    """Of each pair: scene loss over the frame and the character, residual and overlap after alignment."""
    out: dict[str, list] = {"frame": [], "character": [], "residual": [], "overlap": []}
    motions = seen.on_canvas(motions)
    for start in range(0, len(pairs), BATCH):
        first, second = (list(side) for side in zip(*pairs[start : start + BATCH]))
        x, x2 = (seen.frames[side].astype(np.float32) / 255 for side in (first, second))
        mask, mask2 = seen.masks[first][..., None], seen.masks[second][..., None]
        rendered, moved = (np.asarray(value) for value in draw(x, mask, motions[start : start + BATCH]))
        apart = 255 * np.abs(rendered - x2).mean(-1, keepdims=True)
        cover = moved[..., 3:]
        both = ((cover > 0.5) & (mask2 > 0.5)).astype(np.float32)
        aligned = 255 * np.abs(moved[..., :3] / np.maximum(cover, 0.5) - x2).mean(-1, keepdims=True)
        total = lambda values: values.sum((1, 2, 3))
        out["frame"].append(apart.mean((1, 2, 3)))
        out["character"].append(total(apart * mask2) / total(mask2))
        out["residual"].append(total(aligned * both) / np.maximum(total(both), 1))
        out["overlap"].append(total(np.minimum(cover, mask2)) / total(np.maximum(cover, mask2)))
    return {key: np.concatenate(values) for key, values in out.items()}


# -- a model for each gap


def trained_at(path: Path, gap: int, folder: Path, steps: int, seed: int) -> Path:
    """A model folder trained on pairs of this one gap; a training that was stopped goes on."""
    from eqvid_tf.config import Config, TrainConfig
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.data.pairs import pairs
    from eqvid_tf.training import train as training

    if not (folder / "model.keras").is_file():
        clip = open_clip(path / "frames" if (path / "frames").is_dir() else path, cache=None)
        config = training.configure(Config(train=TrainConfig(steps=steps, seed=seed)), [clip])
        print(f"training {folder.name}", flush=True)
        with mock.patch.object(training, "pairs", functools.partial(pairs, gaps=(gap,))):
            try:
                training.train(config, [clip], folder, resume=(folder / "checkpoint.keras").is_file(), log=print)
            except training.Collapsed as error:  # the model is written, and measured like any other
                print(error)
    return folder


# -- all groups


def mean_of(clips: dict[str, dict]) -> dict:
    """Gap -> figures, the mean over the clips of a group that are long enough for all of the gaps.

    Why: a clip that drops out between two gaps would bend the curve.
    """
    longest = max(len(clip["gaps"]) for clip in clips.values())
    clips = [clip["gaps"] for clip in clips.values() if len(clip["gaps"]) == longest]
    out: dict = {}
    for gap in clips[0]:
        rows = [clip[gap] for clip in clips]
        means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if all(key in row for row in rows)}
        if {"unmoved", "character", "still"} <= means.keys():
            means["explained"] = (means["unmoved"] - means["character"]) / (means["unmoved"] - means["still"])
        out[gap] = {"clips": len(rows), **means, "pairs": sum(row["pairs"] for row in rows)}
    return out


def report(groups: dict) -> str:
    lines = []
    for name, group in groups.items():
        keys = [key for key in COLUMNS if any(key in row for row in group["mean"].values())]
        lines += [name, f"{'gap':>6s}{'pairs':>7s}" + "".join(f"{key:>16s}" for key in keys)]
        for gap, row in group["mean"].items():
            cells = "".join(f"{row[key]:16.2f}" if key in row else f"{'-':>16s}" for key in keys)
            lines.append(f"{gap:>6s}{row['pairs']:7d}{cells}")
    return "\n".join(lines)


def table(groups: dict) -> str:
    """The figures in Markdown."""
    rows = [
        [name, int(gap), *map(row.get, PAGE_COLUMNS)]
        for name, group in groups.items()
        for gap, row in group["mean"].items()
    ]
    return text_table(rows, ["", "gap", *PAGE_COLUMNS.values()], digits=2) + "\n"


LINES = {  # rows of the plot: key -> (label, style)
    "scene loss, grey levels": {
        "character": ("character, estimated motion", "C0o-"),
        "given": ("character, true motion", "C2s--"),
        "unmoved": ("character, no motion", "C7:"),
        "still": ("character, gap 0", "C1-."),
        "frame": ("whole frame", "k-"),
    },
    "residual after alignment,\ngrey levels": {
        "residual": ("estimated motion", "C0o-"),
        "residual given": ("true motion", "C2s--"),
    },
    "motion, px of a frame 64 px high": {
        "error": ("error against the truth", "C3o-"),
        "composition": ("distance from the product\nof gap-1 estimates", "C4s--"),
    },
}
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
FLAT = ("motion, px of a frame 64 px high",)  # the others are on a logarithmic scale


def draw_plot(groups: dict, path: Path) -> None:
    """A column for each group; within a row all share one scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(LINES),
        len(groups),
        figsize=(3.6 + 2.7 * len(groups), 7.8),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for row, (title, lines) in zip(axes, LINES.items()):
        for place, group in zip(row, groups.values()):
            for key, (label, style) in lines.items():
                points = [(int(gap), figures[key]) for gap, figures in group["mean"].items() if key in figures]
                if points:
                    place.plot(*zip(*points), style, label=label, lw=1.4, ms=4)
                    clips = [
                        clip["gaps"] for clip in group["clips"].values() if len(clip["gaps"]) == len(group["mean"])
                    ]
                    ends = [[end(clip[str(gap)][key] for clip in clips) for gap, _ in points] for end in (min, max)]
                    place.fill_between(
                        [gap for gap, _ in points], *ends, color=place.lines[-1].get_color(), alpha=0.1, lw=0
                    )
            place.set_xscale("log", base=2)
            place.set_xticks(GAPS, [str(gap) for gap in GAPS])
            place.grid(alpha=0.25)
        row[0].set_ylabel(title)
        if title in FLAT:
            row[0].set_ylim(bottom=0)
        else:
            row[0].set_yscale("log")
            limits = row[0].get_ylim()
            row[0].set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
            row[0].minorticks_off()
            row[0].set_ylim(limits)
        handles = {label: handle for place in row for handle, label in zip(*place.get_legend_handles_labels())}
        row[-1].legend(handles.values(), handles.keys(), fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    for place, name in zip(axes[0], groups):
        place.set_title(name, fontsize=10)
    figure.supxlabel("frame gap; to the left, more frames per second", fontsize=10)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--group",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "RUN CLIP"),
        help="a model, and clips it knows",
    )
    parser.add_argument(
        "--each-gap",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "CLIP"),
        help="clips with a model for each gap",
    )
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page that gets the table")
    parser.add_argument("--most", type=int, default=40, help="pairs of each gap and direction, a clip (default: 40)")
    parser.add_argument("--steps", type=int, default=250, help="of training, for each gap of --each-gap (default: 250)")
    parser.add_argument("--seed", type=int, default=0, help="of the models of --each-gap")
    parser.add_argument(
        "--work", type=Path, default=Path("build/frame_gap"), help="what is done (default: build/frame_gap)"
    )
    args = parser.parse_args()
    short = any(len(group) < 3 for group in args.group) or any(len(group) < 2 for group in args.each_gap)
    if short or not args.group + args.each_gap:
        parser.error("give --group NAME RUN CLIP... or --each-gap NAME CLIP...")
    from eqvid_tf.model_folder import load

    load = functools.cache(load)
    groups: dict = {}

    def figures(run: Path, path: Path, gaps) -> dict:
        settings = {"clip": str(path.resolve()), "gaps": gaps, "most": args.most}
        made = cached(args.work, path.stem, run, settings, lambda: measure(load(run), path, gaps, args.most))
        print(f"{path.name}: done", flush=True)
        return made

    for name, run, *paths in args.group:
        clips = {Path(path).stem: figures(Path(run), Path(path), GAPS) for path in paths}
        groups[name] = {"model": "one for all gaps", "clips": clips, "mean": mean_of(clips)}
    for name, *paths in args.each_gap:
        clips = {}
        for path in map(Path, paths):
            place = lambda gap, path=path: args.work / f"{path.stem}-gap-{gap}-{args.steps}-{args.seed}"
            made = {
                gap: figures(trained_at(path, gap, place(gap), args.steps, args.seed), path, (gap,)) for gap in GAPS
            }
            clips[path.stem] = {
                **made[1],
                "gaps": {gap: row for one in made.values() for gap, row in one["gaps"].items()},
            }
        groups[name] = {"model": f"one for each gap, {args.steps} steps", "clips": clips, "mean": mean_of(clips)}
    write(args.json, {"unit": "grey levels of 255; px of a frame 64 px high", "groups": rounded(groups)})
    print(report(groups))
    if args.page:
        write_text(args.page, page_with(table(rounded(groups)), args.page.read_text(encoding="utf-8")))
    if args.plot:
        draw_plot(groups, args.plot)


if __name__ == "__main__":
    main()
