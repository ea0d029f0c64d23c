"""The stages of a clip: commands of `eqvid`, one after another."""

from __future__ import annotations

from typing import NamedTuple

from eqvid_tf.batch.manifest import BatchClip


class Stage(NamedTuple):
    """A command, its words with {clip} and {folder} to be filled in, and what it leaves in the folder."""

    name: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]


def stages_of(clip: BatchClip) -> list[Stage]:
    """The stages of a clip, in their order."""
    frames = (f"--frames={clip.frames}",) if clip.frames else ()
    train = [f"--{name}={getattr(clip.train, name)}" for name in ("minutes", "steps", "seed")]
    options = {
        "plates": (("--plates",), ("layers/plates",)),
        "videos": (("--video={folder}/videos",), ("videos",)),
        "sheet": (("--sheet={folder}/sheet.png",), ("sheet.png", "sheet.json")),
    }
    asked = [options[name] for name in clip.write if name in options]
    separate = [word for words, _ in asked for word in words]
    written = [output for _, outputs in asked for output in outputs]
    page = ("export", "{folder}/run", "--html={folder}/page.html", "--clip={clip}", *frames)
    return [
        Stage("inspect", ("inspect", "{clip}", "--json={folder}/inspect.json", *frames), ("inspect.json",)),
        Stage("train", ("train", "{clip}", "--output={folder}/run", *train, *frames), ("run/model.keras",)),
        Stage(
            "separate",
            ("separate", "{folder}/run", "{clip}", "--output={folder}/layers", *separate, *frames),
            ("layers", *written),
        ),
        *([Stage("page", page, ("page.html",))] if "page" in clip.write else ()),
    ]
