"""The catalog of motions: templates as small JSON files in folders, found by name; and a template taken from a clip.

A catalog folder holds NAME.json, and beside it NAME.png, its picture (`eqvid_tf.motions.previews`). The templates that
come with the package are in `SHIPPED`, which is only read.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eqvid_tf.data.output import check_output, write_text
from eqvid_tf.data.repeats import find_repeats
from eqvid_tf.motions.checks import TemplateError, check_name
from eqvid_tf.motions.template import Template, frame_from_template
from eqvid_tf.pixels.coordinates import centroid, homogeneous
from eqvid_tf.separation.motions import anchored_path

if TYPE_CHECKING:
    from eqvid_tf.separation.layers import ClipLayers

FORMAT, VERSION = "eqvid-motion", 1
KEYS = ("format", "version", "name", "fps", "steps", "source")
SHIPPED = Path(__file__).parent / "shipped"
MOST_BYTES = 8 << 20  # of a file; 10,000 steps with all their digits take 1.4 MB
MOST_LISTED = 40  # names in an error
LEAST_AREA = 1e-3  # share of the frame that a character covers at least in a frame that shows it
UNSURE = 0.25  # confidence below which a step is reported


def available(folders: Iterable[str | Path] = ()) -> dict[str, Path]:
    """List every template in the folders and of the package, name -> file; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in (*map(Path, folders), SHIPPED):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            found.setdefault(path.stem, path)
    return found


def find(name_or_path: str | Path, folders: Iterable[str | Path] = ()) -> Template:
    """Find a template by its name, in one of the folders or of the package, or by the path of its file.

    Args:
        name_or_path: what ends in .json is a path.
        folders: catalog folders, searched in this order; they need not exist.

    Raises:
        TemplateError: there is none (the message lists those there are), or it cannot be read.

    Example:
        >>> find("jump").seconds
        2.0
    """
    if str(name_or_path).endswith(".json"):
        return read(name_or_path)
    found = available(folders)
    if str(name_or_path) not in found:
        names = sorted(found)
        more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
        raise TemplateError(
            f"there is no motion {str(name_or_path)!r:.120}. There are: {', '.join(names[:MOST_LISTED])}{more}; "
            "or give the path of a .json file."
        )
    return read(found[str(name_or_path)])


def read(path: str | Path) -> Template:
    """Read the template of a file.

    Raises:
        TemplateError: the file is missing, or anything in it is not as docs/formats.md says.
    """
    path = Path(path)
    if not path.is_file():
        raise TemplateError(f"{path}: there is no such file. Check the path.")
    if path.stat().st_size > MOST_BYTES:
        raise TemplateError(f"{path}: this file is larger than {MOST_BYTES >> 20} MiB, and no motion template.")
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:  # of json and of utf-8
        raise TemplateError(f"{path}: this is not JSON that can be read, or it is damaged.") from error


def _from_json(found: Any) -> Template:
    """Make the template of what a file holds; raises as `read`."""
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise TemplateError(f'this is no motion template; "format" must be "{FORMAT}".')
    version = found.get("version")
    if type(version) is not int or version < 1:
        raise TemplateError(f"version must be a whole number from 1 on; received {version!r:.60}.")
    if version > VERSION:
        raise TemplateError(f"version {version} is newer than this package reads ({VERSION}); upgrade eqvid_tf.")
    if unknown := sorted(set(found) - set(KEYS)):
        raise TemplateError(f"unknown key {unknown[0]!r:.60}; the keys are {', '.join(KEYS)}.")
    if missing := [key for key in KEYS if key not in found]:
        raise TemplateError(f"{missing[0]} is missing.")
    return Template(**{key: found[key] for key in KEYS[2:]})


def to_json(template: Template) -> str:
    """Write a template as the text of its file: a line for each step."""
    head = {"format": FORMAT, "version": VERSION, "name": template.name, "fps": template.fps, "source": template.source}
    steps = ",\n  ".join(json.dumps(step) for step in template.steps.tolist())
    return json.dumps(head, indent=1)[:-2] + f',\n "steps": [\n  {steps}\n ]\n}}\n'


def write(template: Template, folder: str | Path, overwrite: bool = False) -> Path:
    """Write folder/NAME.json, completely or not at all, and return its path.

    Raises:
        OutputError: the file exists and is not to be overwritten.
        TemplateError: it is the folder of the package's own templates.
    """
    path = check_place(Path(folder) / f"{template.name}.json", overwrite)
    write_text(path, to_json(template))
    return path


def check_place(path: Path, overwrite: bool = False) -> Path:
    """Check that a catalog's file may be written to a path, and return the path; raises as `write`."""
    if path.resolve().is_relative_to(SHIPPED.resolve()):
        raise TemplateError(
            f"{path}: the templates that come with the package are not written to. Choose another catalog."
        )
    return check_output(path, overwrite)


def provenance(template: Template) -> str:
    """Say in a line what a template does or where it is from, and what was done to it."""
    source = template.source
    if "does" in source:
        text = str(source["does"])
    elif "clip" in source:
        text = f"from {source['clip']}" + (f" by {source['model']}" if source.get("model") else "")
        text += f", {source['date']}" if source.get("date") else ""
        text += f", {source['unsure']} steps unsure" if source.get("unsure") else ""
    else:
        text = f"by {source['by']}" if "by" in source else "of unknown origin"
    edits = ", ".join(map(str, source.get("edits", [])))
    return f"{text}; edited: {edits}" if edits else text


def extract(layers: ClipLayers, name: str, *, model: str = "") -> Template:
    """Take the motion of a clip's character as a template, from the first frame that shows it to the last.

    Frames that only repeat the one before are left out, so that the motion does not stutter; its rate is then that of
    the pictures. The motion is the model's estimate, without drift, or with a `known` model the clip's own. `source`
    holds the clip, the model, the date, the frames it was taken from, and under "unsure" how many steps have a
    confidence below `UNSURE`: the character is hidden, or the estimate is a guess.

    Args:
        layers: what a model makes of the clip.
        name: of the template.
        model: what the model is called in the provenance.

    Raises:
        TemplateError: fewer than two frames show a character, or a step is no motion of one.
        ClipError: the model is a `known` one and the clip has no motion.json.
    """
    check_name(name)
    clip = layers.clip
    visible = np.flatnonzero((layers.coverage > 0.5).mean((1, 2)) >= LEAST_AREA)
    if len(visible) < 2:
        raise TemplateError(
            f"{clip.name}: fewer than two frames show a character. Choose frames that do, or train on this clip."
        )
    first, last = int(visible[0]), int(visible[-1])
    repeats = find_repeats(clip.filmed, first, last + 1)
    pictures = [first + index for index in repeats.pictures]
    steps_of = list(itertools.pairwise(pictures))
    if layers.model.T.learned:
        motion, confidence = layers.estimate_motions(steps_of)
        path = anchored_path(layers.estimate_motions, pictures, motion)
        motion = path[1:] @ np.linalg.inv(path[:-1])
    else:
        motion, confidence = np.stack([_over(layers.motion[a:b]) for a, b in steps_of]), np.ones(len(steps_of))
    source = {
        "clip": _short_text(clip.name),
        "model": _short_text(model),
        "date": datetime.date.today().isoformat(),
        "frames": f"{first}:{last + 1}",
        "unsure": int((confidence < UNSURE).sum()),
    }
    start = centroid(layers.layer(first, clip.at(first)))
    frame_from_own = frame_from_template(clip.size, start) @ np.diag([1 / clip.heights, 1 / clip.heights, 1])
    steps = np.linalg.inv(frame_from_own) @ homogeneous(motion) @ frame_from_own
    return Template(name=name, fps=clip.fps / repeats.usual, steps=steps[:, :2], source=source)


def _over(motion: np.ndarray) -> np.ndarray:
    """The motion [2, 3] over several steps [N, 2, 3]."""
    return functools.reduce(lambda done, step: step @ done, homogeneous(motion))[:2]


def _short_text(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable())[:200]
