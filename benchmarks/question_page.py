"""The page of `question.py`: its figures from the runs, its tables and pictures from its figures."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path

import numpy as np
from measured import ROOT, number_text, rounded
from record import write

from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.sheets import contact_sheet, text_table

FIGURES = ROOT / "benchmarks/results/question.json"
PAGE = ROOT / "docs/does_it_disentangle.md"
PICTURES = {  # of the page: name -> (scenes, variants)
    "question_losses": (
        ("textured", "rests"),
        {
            "L_s": ("alone", "known, L_s"),
            "L_s + L_b": ("alone", "known, L_s + L_b"),
            "L_s + L_c": ("alone", "known, L_s + L_c"),
            "all three": ("alone", "known, all three"),
        },
    ),
    "question_known": (
        ("room", "walker", "rests"),
        {
            "all three, far": ("far", "known, all three, far"),
            "L_c late": ("far", "known, all three, far, L_c late"),
            "2,000 steps": ("far", "known, all three, far, L_c late, Muon, 2,000 steps"),
            "bounded, 6,000": ("bounded", "known, all three, far, over, bounded, L_c late, Muon, 6,000 steps"),
        },
    ),
    "question_learned": (
        ("textured", "plain"),
        {
            "T learned": ("learned", "features, L_s + L_b, unit"),
            "background first": ("learned", "features, L_s + L_b, unit, background first, closer"),
            "and labels": ("learned", "features, L_s + L_b, unit, background first, closer, label"),
            "partition": ("learned", "features, all three, partition, closer, label"),
        },
    ),
}
EMPTY = 0.1  # iou below which a character is lost
COLUMNS = {
    "iou": 2,
    "bg_psnr": 1,
    "h_has_character": 2,
    "f_on_background": 2,
    "equivariance": 2,
    "corner_px": 2,
    "move_char": 1,
    "swap_char": 1,
}


def file_of(name: str) -> str:
    """What the files of a variant, or of a recipe without a loss, begin with."""
    return name.replace(" ", "-")


def collected(work: Path) -> dict:
    """The figures of all runs there are, with the exact ones."""
    import question
    import trivial_solutions

    scenes = {name: functools.partial(question.scene_of, name) for name in ("textured", "plain", "rests")}
    variants = []
    for block, named in question.VARIANTS.items():
        for name, variant in named.items():
            paths = sorted((work / block).glob(f"{file_of(name)}-[0-9].json"))
            runs = [json.loads(path.read_text()) for path in paths]
            settings = {key: value for key, value in dataclasses.asdict(variant).items() if key != "predicted"}
            short = [
                {key: run[key] for key in ("seed", "scenes", "processor_s")} | {"losses": run["curve"][-1]}
                for run in runs
            ]
            if runs:
                variants.append(
                    {
                        "block": block,
                        "variant": name,
                        "predicted": variant.predicted,
                        "settings": settings,
                        "runs": short,
                    }
                )
    trivial = trivial_solutions.table_of(scenes, {"close": 1, "far": 8}, question.WEIGHTS)
    return {
        "scenes": question.SCENES,
        "size": question.SIZE,
        "frames": question.FRAMES,
        "weights": question.WEIGHTS,
        "ceiling": question.ceiling(),
        "trivial": _rounded(trivial),
        "variants": variants,
        "recipe": recipe_runs(work.with_name("question_recipe")),
    }


def recipe_runs(work: Path) -> dict:
    """By what is off, what was predicted and the runs there are."""
    import question_recipe

    found = {}
    for name, predicted in question_recipe.PREDICTED.items():
        paths = sorted(work.glob(f"{file_of(name)}-[0-9].json"))
        if paths:
            found[name] = {"predicted": predicted, "runs": [json.loads(path.read_text()) for path in paths]}
    return found


def _rounded(table: dict) -> dict:
    return {key: _rounded(value) if isinstance(value, dict) else rounded(value) for key, value in table.items()}


def run_mean(run: dict, key: str) -> float | None:
    """The mean over the scenes that have a figure."""
    values = [scene[key] for scene in run["scenes"].values() if scene.get(key) is not None]
    return float(np.mean(values)) if values else None


def spread_text(values: list, digits: int) -> str:
    """Mean over the seeds, and half of the way from the least to the largest where there are several."""
    if not values or None in values:
        return "-"
    text = number_text(float(np.mean(values)), digits)
    return text if len(values) == 1 else f"{text} ± {number_text(np.ptp(values) / 2, digits)}"


def block_table(figures: dict, block: str) -> str:
    """The variants of a block: means over scenes and seeds, and what was predicted."""
    learned = block == "learned"
    columns = {key: digits for key, digits in COLUMNS.items() if learned or key != "corner_px"}
    rows = [["the true layers", "", "", *(_of_ceiling(figures, key, digits) for key, digits in columns.items()), ""]]
    if learned:
        rows[0][3 + [*columns].index("corner_px")] = f"no motion: {_of_ceiling(figures, 'no_motion_px', 2)}"
    for variant in (variant for variant in figures["variants"] if variant["block"] == block):
        values = {key: [run_mean(run, key) for run in variant["runs"]] for key in columns}
        texts = [spread_text(values[key], digits) for key, digits in columns.items()]
        found = [scene["iou"] < EMPTY for run in variant["runs"] for scene in run["scenes"].values()]
        rows.append(
            [variant["variant"], len(variant["runs"]), f"{sum(found)} of {len(found)}", *texts, variant["predicted"]]
        )
    return text_table(rows, ["variant", "seeds", "lost", *columns, "predicted"]) + "\n"


def _of_ceiling(figures: dict, key: str, digits: int) -> str:
    values = [scene[key] for scene in figures["ceiling"].values() if key in scene]
    return number_text(float(np.mean(values)), digits) if values else ""


def trivial_table(figures: dict) -> str:
    """The solutions; an asterisk where the objective prefers one to the right answer, by more than a hundredth."""
    table, rows = figures["trivial"], []
    close = table["textured"]["close"]
    for name, terms in close.items():
        variants = [number_text(terms[key]) for key in ("scene", "character", "background")]
        for scene, distance, key in (
            ("textured", "close", "total"),
            ("textured", "far", "total"),
            ("plain", "close", "total"),
            ("rests", "close", "total"),
            ("textured", "close", "shrunk"),
            ("plain", "close", "shrunk"),
        ):
            found = table[scene][distance]
            value, right = found.get(name, {}).get(key), found["the right answer"][key]
            variants.append(number_text(value, 1) + (" *" if value is not None and value < 0.99 * right else ""))
        rows.append([name, *variants])
    header = ["", "L_s", "L_c", "L_b", "L", "L, far", "L, plain", "L, rests", "L, shrunk", "L, plain, shrunk"]
    return text_table(rows, header) + "\n"


def recipe_table(figures: dict) -> str:
    """The recipe with one loss off: the networks alone."""
    rows = []
    for name, found in figures["recipe"].items():
        of = lambda scene, key, digits, runs=found["runs"]: spread_text(
            [run["scenes"][scene].get(key) for run in runs], digits
        )
        verdicts = sorted({word for run in found["runs"] for word in run["verdict"]})
        figure = [of(scene, "iou", 2) for scene in ("ghost", "two", "pans")]
        figure += [of(scene, "bg_psnr", 1) for scene in ("ghost", "two")]
        rows.append([name, len(found["runs"]), *figure, "; ".join(verdicts) or "-", found["predicted"]])
    header = ["", "seeds", "iou, ghost", "iou, two", "iou, pans", "bg_psnr, ghost", "bg_psnr, two", "diagnosis"]
    return text_table(rows, [*header, "predicted"]) + "\n"


def sections(figures: dict) -> dict[str, str]:
    """What stands between the page's marks."""
    blocks = dict.fromkeys(variant["block"] for variant in figures["variants"])
    tables = {"trivial": trivial_table(figures)}
    if figures["recipe"]:
        tables["recipe"] = recipe_table(figures)
    return tables | {block: block_table(figures, block) for block in blocks}


def page_of(figures: dict, text: str) -> str:
    """The page with its tables; each must have its marks."""
    for name, made in sections(figures).items():
        text, count = re.subn(
            rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", lambda _, made=made: made, text, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"the page must hold <!-- {name} --> and <!-- /{name} -->, each in a line of its own")
    return text


def draw_pictures(work: Path) -> None:
    """One picture for each claim: of a frame, what h is drawn as, what f and h are, and what f adds."""
    for name, (scenes, variants) in PICTURES.items():
        rows = []
        for scene in scenes:
            drawn = [
                np.load(work / block / f"{file_of(variant)}-0.npz")[scene][:, 1] for block, variant in variants.values()
            ]
            rows.append([drawn[0][0], *(np.concatenate(list(one[1:]), 1) for one in drawn)])
        titles = ["frame", *(f"{label}: h, f + h, f" for label in variants)]
        write_png(ROOT / f"docs/{name}.png", contact_sheet(rows, column_titles=titles, row_titles=scenes, scale=3))


def make(work: Path) -> None:
    """Write the figures, the page and its pictures."""
    figures = collected(work)
    write(FIGURES, figures)
    PAGE.write_text(page_of(figures, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw_pictures(work)


def check() -> int:
    """1 where the page does not hold what the figures say."""
    text = PAGE.read_text(encoding="utf-8")
    return int(page_of(json.loads(FIGURES.read_text(encoding="utf-8")), text) != text)
