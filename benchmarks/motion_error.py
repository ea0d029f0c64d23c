"""How far estimated motions are from the truth, and whether their confidence knows it.

    PYTHONPATH=. python benchmarks/motion_error.py RUN SCENE... --json FILE [--plot FILE] [--page FILE]

Scenes need motion.json; with masks/ and background.png they are asked for drawn pairs and for pairs without a character
too. All errors are those of the scorecard's `corner_px` (where two motions carry the corners of the character's box),
in pixels of a frame that is 64 high. What is done of a scene is kept in --work, so that a run that was stopped goes on
where it was. The page gets the figures as tables between <!-- table --> and <!-- /table -->.

gaps          pairs 1, 2, 4, 8, 16 frames apart, in both directions
composition   T(x, x') and back against no motion; the gap-8 estimate against the product of eight gap-1 estimates
drawn         the scene's sprite, cut out by its true mask, set down twice over the true background: turned by up to 40
              degrees, zoomed by up to 10 %, in two thirds of the pairs up to a third of it out of one of the frames
confidence    Spearman's correlation with the error over all gap pairs; the area under the ROC curve for pairs with a
              character against pairs without one: an empty background twice, with fresh noise; with another exposure;
              two frames from which the character is painted out; a background that was never trained
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
from measured import auroc, cached, corner_pixels, motion_between, number_text, page_with, roc, rounded, save, spearman
from record import write

from eqvid_tf.data.output import write_text
from eqvid_tf.evaluation.scorecard import STILL
from eqvid_tf.pixels.coordinates import homogeneous
from eqvid_tf.pixels.morphology import dilate
from eqvid_tf.pixels.resampling import move, over
from eqvid_tf.pixels.sheets import text_table

GAPS = (1, 2, 4, 8, 16)
CLOSE = 2.0  # px: what counts as right on drawn pairs
TURN, ZOOM, OUTSIDE = 40.0, 0.1, 1 / 3  # of drawn pairs: degrees, log zoom, share of the character out of the frame
STRATA = ((0.0, 0.02), (0.02, 1 / 6), (1 / 6, OUTSIDE))  # of that share, in equal parts of the pairs
NOISE, EXPOSURE = 2.0, 0.15  # of pairs without a character: grey levels, log gain
STILL_MOTION = np.eye(2, 3)


def spread_of(values) -> dict:
    values = np.asarray(values, np.float64)
    if not len(values):
        return {"pairs": 0}
    low, middle, high = np.percentile(values, (10, 50, 90))
    return {"pairs": len(values), "mean": values.mean(), "median": middle, "p10": low, "p90": high}


# -- what is measured on


@dataclasses.dataclass(frozen=True)
class Truth:
    """A scene with its truth; masks and background are None where it has none."""

    folder: Path
    frames: np.ndarray  # [T, H, W, 3] uint8
    steps: np.ndarray  # [T - 1, 2, 3]
    centre: np.ndarray  # [T, 2]
    masks: np.ndarray | None  # [T, H, W] in [0, 1]
    background: np.ndarray | None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1:3]

    def layer(self, index: int) -> np.ndarray:
        """The character, premultiplied RGBA [H, W, 4], colour in [0, 255]."""
        cover = self.masks[index][..., None]
        return np.concatenate([np.clip(self.frames[index] - (1 - cover) * self.background, 0, 255 * cover), cover], -1)


def read_scene(folder: Path) -> Truth:
    from eqvid_tf.data.clips import open_clip, read_image

    truth = json.loads((folder / "motion.json").read_text(encoding="utf-8"))
    frames = np.stack(list(open_clip(folder / "frames", cache=None).native()))
    whole = (folder / "masks").is_dir() and (folder / "background.png").is_file()
    masks = (
        np.stack([read_image(path)[..., 0] for path in sorted((folder / "masks").iterdir())]) / 255 if whole else None
    )
    background = read_image(folder / "background.png").astype(np.float64) if whole else None
    return Truth(folder, frames, np.array(truth["motion"]), np.array(truth["pose_centre"]), masks, background)


def estimate(model, frames, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Motions [N, 2, 3] and confidences [N] of pairs [2 N, H, W, 3], one after the other, that belong to no clip."""
    from eqvid_tf.pixels.canvas import fit
    from eqvid_tf.separation.layers import motion_from_canvas

    small = np.stack([fit(frame, model.config.canvas) for frame in frames]).astype(np.float32) / 255
    found = [
        model.estimate_motion(small[start : start + 2 * batch : 2], small[start + 1 : start + 2 * batch : 2])
        for start in range(0, len(small), 2 * batch)
    ]
    motions, confidences = (np.concatenate([np.asarray(part, np.float64) for part in parts]) for parts in zip(*found))
    return motion_from_canvas(motions, frames.shape[1:3], model.config.canvas), confidences


def both_ways(count: int, gap: int) -> list[tuple[int, int]]:
    forward = [(i, i + gap) for i in range(count - gap)]
    return forward + [(j, i) for i, j in forward]


def drawn_pairs(scene: Truth, count: int, rng) -> tuple[np.ndarray, list[dict]]:
    """Pairs of frames [2 count, H, W, 3] uint8, one after the other, and for each the truth.

    The truth: motion, centre, turn, share outside.

    The sprite is one that lies whole within its frame. Each of the pair's frames is one resampling of it.
    """
    whole = [i for i in range(len(scene.frames)) if scene.masks[i].any() and not _border(scene.masks[i]).any()]
    if not whole:
        raise SystemExit(f"{scene.name}: in no frame does the character lie whole within the frame")
    frames, truths = [], []
    while len(truths) < count:
        low, high = STRATA[len(truths) % len(STRATA)]
        index = whole[rng.integers(len(whole))]
        layer, start, turn = scene.layer(index), rng.uniform(-TURN, TURN) / 2, rng.uniform(-TURN, TURN)
        first = _placed(scene, index, start, 1.0, rng)
        second = _placed(scene, index, start + turn, np.exp(rng.uniform(-ZOOM, ZOOM)), rng)
        outside = [_outside(layer[..., 3:], motion) for motion in (first, second)]
        if not low <= max(outside) <= high:
            continue
        frames += [over(move(layer.astype(np.float32), motion), scene.background) for motion in (first, second)]
        centre = (first @ [*scene.centre[index], 1])[:2]
        motion = (second @ np.linalg.inv(first))[:2]
        truths.append({"motion": motion, "centre": centre, "turn": abs(turn), "outside": max(outside)})
    return np.stack(frames), truths


def _border(mask) -> np.ndarray:
    return np.concatenate([mask[[0, -1]].ravel(), mask[:, [0, -1]].ravel()])


def _placed(scene: Truth, index: int, turn: float, zoom: float, rng) -> np.ndarray:
    """[3, 3]: the character of a frame turned and zoomed about its centre, which is set down anywhere in the frame."""
    aspect, angle = scene.size[1] / scene.size[0], np.deg2rad(turn)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle) / aspect], [np.sin(angle) * aspect, np.cos(angle)]])
    motion = np.eye(3)
    motion[:2, :2], motion[:2, 2] = linear, rng.uniform(-1, 1, 2) - linear @ scene.centre[index]
    return motion


def _outside(cover: np.ndarray, motion: np.ndarray) -> float:
    """Share of a character's coverage [H, W, 1] that a motion carries out of the frame."""
    return float(1 - move(cover.astype(np.float32), motion).sum() / (cover.sum() * abs(np.linalg.det(motion))))


def without_character(scene: Truth, count: int, rng) -> dict[str, np.ndarray]:
    """By kind, pairs [2 count, H, W, 3] uint8 with nothing in them but background, one after the other."""
    from eqvid_tf.synthetic.backgrounds import draw_background

    noisy = lambda picture: np.clip(picture + rng.normal(0, NOISE, picture.shape), 0, 255).round().astype(np.uint8)
    lit = lambda picture: noisy(np.exp(rng.uniform(-EXPOSURE, EXPOSURE)) * picture)
    hidden = np.stack([dilate(mask > 0, 1) for mask in scene.masks])[..., None]
    painted = np.where(hidden, scene.background, scene.frames).round().astype(np.uint8)
    apart = [rng.choice(len(painted), 2, replace=False) for _ in range(count)]
    strange = [draw_background(int(rng.integers(1 << 30)), scene.size) for _ in range(count)]
    return {
        "noise": np.stack([noisy(scene.background) for _ in range(2 * count)]),
        "exposure": np.stack([lit(scene.background) for _ in range(2 * count)]),
        "painted out": painted[np.concatenate(apart)],
        "never trained": np.stack([noisy(picture) for picture in strange for _ in range(2)]),
    }


# -- one scene


def measure(model, scene: Truth, *, drawn: int, empty: int, seed: int) -> dict:
    """All that is measured on one scene, as plain numbers."""
    rng = np.random.default_rng([seed, zlib.crc32(scene.name.encode())])
    found = {"size": list(scene.size), "rows": [], **gaps(model, scene)}
    if scene.masks is not None:
        frames, truths = drawn_pairs(scene, drawn, rng)
        motions, confidences = estimate(model, frames)
        found["drawn"] = [
            {
                "error": corner_pixels(t["motion"], m, t["centre"], scene.size),
                "confidence": float(c),
                "turn": t["turn"],
                "outside": t["outside"],
            }
            for t, m, c in zip(truths, motions, confidences)
        ]
        found["empty"] = {kind: nothing(model, frames) for kind, frames in without_character(scene, empty, rng).items()}
    return found


def gaps(model, scene: Truth) -> dict:
    """Error and confidence of every pair at every gap, from the clip's frames alone, and how estimates compose."""
    from eqvid_tf.data.clips import open_clip
    from eqvid_tf.separation.layers import ClipLayers

    pairs = [pair for gap in GAPS for pair in both_ways(len(scene.frames), gap)]
    motions, confidences = ClipLayers(model, open_clip(scene.folder / "frames", cache=None)).estimate_motions(pairs)
    at = dict(zip(pairs, motions))
    rows, trips = [], []
    for (i, j), motion, confidence in zip(pairs, motions, confidences):
        true = motion_between(scene.steps, i, j)
        rows.append(
            {
                "gap": j - i,
                "error": corner_pixels(true, motion, scene.centre[i], scene.size),
                "confidence": float(confidence),
                "travel": corner_pixels(true, STILL_MOTION, scene.centre[i], scene.size),
            }
        )
        there_and_back = (homogeneous(at[j, i]) @ homogeneous(motion))[:2]
        trips.append(
            {"gap": abs(j - i), "error": corner_pixels(STILL_MOTION, there_and_back, scene.centre[i], scene.size)}
        )
    chain = []
    forward = [at[i, i + 1] for i in range(len(scene.frames) - 1)]
    for i in range(len(scene.frames) - 8):
        product, true = motion_between(forward, i, i + 8), motion_between(scene.steps, i, i + 8)
        apart = lambda a, b, i=i: corner_pixels(a, b, scene.centre[i], scene.size)
        chain.append(
            {
                "apart": apart(product, at[i, i + 8]),
                "product": apart(true, product),
                "direct": apart(true, at[i, i + 8]),
            }
        )
    return {"rows": rows, "round_trip": trips, "chain": chain}


def nothing(model, frames) -> list[dict]:
    """Of pairs without a character: how confident, and how far from no motion."""
    motions, confidences = estimate(model, frames)
    travel = [corner_pixels(STILL_MOTION, motion, (0, 0), frames.shape[1:3]) for motion in motions]
    return [{"confidence": float(confidence), "travel": px} for confidence, px in zip(confidences, travel)]


# -- all scenes


def summary(parts: dict[str, dict]) -> dict:
    """The figures, from what was measured on each scene."""
    rows = [row for part in parts.values() for row in part["rows"]]
    moving = lambda rows: [row["error"] for row in rows if row["travel"] > STILL]
    column = lambda rows, key: np.array([row[key] for row in rows])
    figures: dict = {"scenes": list(parts), "unit": "px of a frame 64 px high", "gaps": {}}
    for gap in (sign * gap for gap in GAPS for sign in (1, -1)):
        scenes = {name: moving(row for row in part["rows"] if row["gap"] == gap) for name, part in parts.items()}
        scenes = {name: float(np.mean(errors)) for name, errors in scenes.items() if errors}
        errors = moving(row for row in rows if row["gap"] == gap)
        if scenes:  # no clip may be long enough
            mean = float(np.mean(list(scenes.values())))
            figures["gaps"][str(gap)] = {"mean of scenes": mean, **spread_of(errors), "scenes": scenes}
    figures["resting pairs"] = spread_of([row["error"] for row in rows if row["travel"] <= STILL])
    trips = [row for part in parts.values() for row in part["round_trip"]]
    figures["round trip"] = {str(gap): spread_of([row["error"] for row in trips if row["gap"] == gap]) for gap in GAPS}
    chain = [row for part in parts.values() for row in part["chain"]]
    figures["eight steps"] = {key: spread_of([row[key] for row in chain]) for key in ("apart", "product", "direct")}
    ranked = lambda rows: spearman(column(rows, "confidence"), column(rows, "error"))
    figures["confidence"] = {
        "spearman": ranked(rows),
        "spearman, moving pairs": ranked([row for row in rows if row["travel"] > STILL]),
        "spearman by scene": {name: ranked(part["rows"]) for name, part in parts.items()},
        "spearman by gap": {str(gap): ranked([row for row in rows if abs(row["gap"]) == gap]) for gap in GAPS},
        "with a character": spread_of(column(rows, "confidence")),
    }
    if drawn := [row for part in parts.values() for row in part.get("drawn", ())]:
        figures["drawn"] = drawn_figures(drawn)
        figures["confidence"]["spearman, drawn pairs"] = ranked(drawn)
        figures["confidence"] |= empty_figures(parts, column(rows, "confidence"), column(drawn, "confidence"))
    return rounded(figures)


def drawn_figures(rows: list[dict]) -> dict:
    close = lambda chosen: (
        {
            "pairs": len(chosen),
            "share within 2 px": float(np.mean([row["error"] <= CLOSE for row in chosen])),
            "median": float(np.median([row["error"] for row in chosen])),
        }
        if chosen
        else {"pairs": 0}
    )
    turns = {
        f"{low}-{low + 10} degrees": [row for row in rows if low <= row["turn"] <= low + 10] for low in (0, 10, 20, 30)
    }
    strata = {f"{low:.0%}-{high:.0%}": [r for r in rows if low <= r["outside"] <= high] for low, high in STRATA}
    return {
        **close(rows),
        "by turn": {key: close(chosen) for key, chosen in turns.items()},
        "by share outside": {key: close(chosen) for key, chosen in strata.items()},
    }


def empty_figures(parts: dict[str, dict], present: np.ndarray, drawn: np.ndarray) -> dict:
    kinds: dict[str, list] = {}
    for part in parts.values():
        for kind, rows in part.get("empty", {}).items():
            kinds.setdefault(kind, []).extend(rows)
    absent = np.array([row["confidence"] for rows in kinds.values() for row in rows])
    of = lambda rows: {
        "auroc": auroc(present, [row["confidence"] for row in rows]),
        "confidence": spread_of([row["confidence"] for row in rows]),
        "px from no motion": spread_of([row["travel"] for row in rows]),
    }
    return {
        "auroc": auroc(present, absent),
        "auroc, drawn pairs": auroc(drawn, absent),
        "without a character": {kind: of(rows) for kind, rows in kinds.items()},
    }


def report(figures: dict) -> str:
    """The figures in words."""
    lines = [
        "corner error, px of a frame 64 px high; pairs between which the character moves",
        f"{'gap':>6s}{'mean':>8s}{'median':>8s}{'p90':>8s}   by scene",
    ]
    for gap, row in figures["gaps"].items():
        scenes = ", ".join(f"{name} {number_text(value)}" for name, value in row["scenes"].items())
        lines.append(f"{gap:>6s}{row['mean of scenes']:8.2f}{row['median']:8.2f}{row['p90']:8.2f}   {scenes}")
    mean = lambda row: number_text(row.get("mean"))
    lines.append("there and back: " + ", ".join(f"gap {gap} {mean(row)}" for gap, row in figures["round trip"].items()))
    lines.append("eight steps: " + ", ".join(f"{key} {mean(row)}" for key, row in figures["eight steps"].items()))
    sure = figures["confidence"]
    pooled = f"{number_text(sure['spearman'], 3)}; moving pairs {number_text(sure['spearman, moving pairs'], 3)}; "
    lines.append(
        f"Spearman of confidence and error: {pooled}"
        + ", ".join(f"{name} {number_text(value)}" for name, value in sure["spearman by scene"].items())
    )
    if "drawn" in figures:
        drawn = figures["drawn"]
        groups = {**drawn["by turn"], **{f"{key} outside": row for key, row in drawn["by share outside"].items()}}
        lines.append(
            f"drawn pairs within 2 px: {drawn['share within 2 px']:.1%}; "
            + ", ".join(f"{key} {row['share within 2 px']:.0%}" for key, row in groups.items() if row["pairs"])
        )
        lines.append(
            f"AUROC with against without a character: {sure['auroc']:.3f}; "
            + "; ".join(
                f"{kind} {row['auroc']:.3f} (confidence {mean(row['confidence'])}, "
                f"{mean(row['px from no motion'])} px from no motion)"
                for kind, row in sure["without a character"].items()
            )
        )
    return "\n".join(lines)


def table(figures: dict) -> str:
    """The figures in Markdown."""
    gaps, sure = [str(gap) for gap in GAPS], figures["confidence"]
    of = lambda name, row: [name, *(row(gap) for gap in gaps)]
    scene_mean = lambda gap: figures["gaps"].get(gap, {}).get("mean of scenes")
    rows = [
        of("T(x, x')", scene_mean),
        of("T(x', x)", lambda gap: scene_mean(f"-{gap}")),
        of("T(x', x) T(x, x') against no motion", lambda gap: figures["round trip"][gap].get("mean")),
        of("Spearman of confidence and error", lambda gap: sure["spearman by gap"][gap]),
    ]
    eight = {key: row.get("mean") for key, row in figures["eight steps"].items()}
    both = lambda first, second: f"{number_text(first)}; {number_text(second)}"
    lines = [
        ["gap 8 at once; as the product of eight steps, px", both(eight["direct"], eight["product"])],
        [
            "Spearman of confidence and error, all pairs; moving pairs",
            both(sure["spearman"], sure["spearman, moving pairs"]),
        ],
    ]
    if drawn := figures.get("drawn"):
        share = lambda groups: "; ".join(
            f"{key}: {row['share within 2 px']:.0%}" for key, row in groups.items() if row["pairs"]
        )
        empty = sure["without a character"]
        lines += [
            ["drawn pairs within 2 px", f"{drawn['share within 2 px']:.0%}"],
            ["by turn", share(drawn["by turn"])],
            ["by share outside the frame", share(drawn["by share outside"])],
            ["AUROC, pairs with a character against without", f"{sure['auroc']:.3f}"],
            ["by kind", "; ".join(f"{kind}: {row['auroc']:.3f}" for kind, row in empty.items())],
            [
                "mean px from no motion, without a character",
                "; ".join(f"{kind}: {row['px from no motion']['mean']:.2f}" for kind, row in empty.items()),
            ],
        ]
    return text_table(rows, ["px, by gap", *gaps], digits=2) + "\n\n" + text_table(lines, ["", "figure"]) + "\n"


def draw_plot(parts: dict[str, dict], figures: dict, path: Path) -> None:
    """Error against confidence, a colour for each gap; and the ROC curve."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for part in parts.values() for row in part["rows"]]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    colours = pyplot.get_cmap("viridis")(np.linspace(0, 0.95, len(GAPS)))
    for gap, colour in zip(GAPS, colours):
        chosen = [row for row in rows if abs(row["gap"]) == gap]
        left.scatter(
            [row["confidence"] for row in chosen],
            [max(row["error"], 0.02) for row in chosen],
            s=9,
            color=colour,
            alpha=0.6,
            lw=0,
            label=f"gap {gap}",
        )
    left.set(
        xlabel="confidence",
        ylabel="corner error (0.02 and more), px of a frame 64 px high",
        yscale="log",
        xlim=(-0.02, 1.02),
        title=f"{len(rows)} pairs of {len(parts)} scenes, Spearman {number_text(figures['confidence']['spearman'])}",
    )
    left.legend(markerscale=2, fontsize=8)
    left.grid(alpha=0.25)
    present = [row["confidence"] for row in rows]
    kinds = sorted({kind for part in parts.values() for kind in part.get("empty", {})})
    for kind in kinds:
        absent = [row["confidence"] for part in parts.values() for row in part["empty"][kind]]
        right.plot(*roc(present, absent), lw=1, label=f"{kind}: {auroc(present, absent):.3f}")
    if kinds:
        absent = [
            row["confidence"] for part in parts.values() for rows in part.get("empty", {}).values() for row in rows
        ]
        right.plot(*roc(present, absent), "k", lw=2, label=f"all: {auroc(present, absent):.3f}")
        right.legend(title="pairs without a character, AUROC", fontsize=8, loc="lower right")
    right.set(
        xlabel="share of pairs without a character above the threshold",
        ylabel="share of pairs with one",
        title="Is there a character?",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    right.grid(alpha=0.25)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="a model folder")
    parser.add_argument("scenes", type=Path, nargs="+", metavar="SCENE", help="scenes with motion.json")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page that gets the tables")
    parser.add_argument("--drawn", type=int, default=96, help="drawn pairs a scene (default: 96)")
    parser.add_argument(
        "--empty", type=int, default=40, help="pairs without a character, of each kind, a scene (default: 40)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, default=Path("build/motion_error"), help="what is done (default: build/motion_error)"
    )
    args = parser.parse_args()
    from eqvid_tf.model_folder import load, read_config

    model, parts = None, {}
    for folder in args.scenes:
        settings = {"scene": str(folder.resolve()), "drawn": args.drawn, "empty": args.empty, "seed": args.seed}

        def make(folder=folder):
            nonlocal model
            model = model or load(args.run)
            return measure(model, read_scene(folder), drawn=args.drawn, empty=args.empty, seed=args.seed)

        parts[folder.name] = cached(args.work, folder.name, args.run, settings, make)
        print(f"{folder.name}: done", flush=True)
    config, figures = read_config(args.run), summary(parts)
    about = {
        "trained on": list(config.clips),
        "estimator": config.model.estimator,
        "canvas": list(config.model.canvas),
        "minutes": config.train.minutes,
        "steps": config.train.steps,
    }
    counts = {"drawn pairs a scene": args.drawn, "empty pairs of each kind": args.empty, "seed": args.seed}
    write(args.json, {"model": about, **counts, **figures})
    print(report(figures))
    if args.page:
        write_text(args.page, page_with(table(figures), args.page.read_text(encoding="utf-8")))
    if args.plot:
        draw_plot(parts, figures, args.plot)


if __name__ == "__main__":
    main()
