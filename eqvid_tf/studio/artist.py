"""Who draws for the page: one thread, with the models and clips it has opened, so that a second picture is quick."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from eqvid_tf.motions.catalog import write
from eqvid_tf.motions.template import Template, frame_from_template
from eqvid_tf.pixels.coordinates import affine_near, homogeneous
from eqvid_tf.studio.places import Places

if TYPE_CHECKING:  # TensorFlow is imported in the artist's thread, so that the page is there at once
    from eqvid_tf.rendering.scene import SceneFile, SceneStage
    from eqvid_tf.rendering.shots import FrameFinder
    from eqvid_tf.rendering.videos import Actor

Result = TypeVar("Result")
OPEN = 2  # models that are kept open, each with the clips that were drawn from; one takes some 100 MB
ACTORS = 24  # whose pictures are kept, in files; a drag changes none of them
LONGEST_TRANSFER = 200  # frames between the two that a motion is taken from


class Artist:
    """Draws, estimates and remembers, one thing at a time.

    Args:
        places: of the studio.
        quiet: gives a context in which TensorFlow is imported.
    """

    def __init__(self, places: Places, quiet: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext):
        self.places, self.quiet, self._busy = places, quiet, False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="artist")
        self._finders = functools.lru_cache(OPEN)(self._new_finder)
        self._actors = functools.lru_cache(ACTORS)(self._cast)

    @functools.cached_property
    def ready(self) -> Future[None]:
        """Is done when TensorFlow is there."""
        return self._thread.submit(self._do, self._import)

    def begin(self, work: Callable[..., Result], *values: Any) -> Future[Result]:
        """Have something done in the artist's thread."""
        _ = self.ready
        return self._thread.submit(self._do, work, *values)

    def close(self) -> bool:
        """Begin nothing more; whether nothing is being drawn."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        return not self._busy

    # ---- in its thread

    def _do(self, work: Callable[..., Result], *values: Any) -> Result:
        self._busy = True
        try:
            return work(*values)
        finally:
            self._busy = False

    def _import(self) -> None:
        with self.quiet():
            import eqvid_tf.rendering.scene  # noqa: F401

    def draw(self, run: str, scene: SceneFile, index: int, wanted: Callable[[], bool]) -> np.ndarray | None:
        """A picture of a scene: uint8 RGB, or straight RGBA; None where it is not wanted any longer."""
        return self._stage(run, scene).frame(index) if wanted() else None

    def warm(self, run: str, clip: str, index: int, moved: bool) -> None:
        """Open a model and a clip, run all stages before its cut-outs, and cut out a frame.

        Args:
            run: name of the model.
            clip: name of the clip.
            index: of the frame.
            moved: make what a moved character is drawn from, too, where that is more than its cut-out.
        """
        finder = self._finder(run)
        characters = finder.clip(self.places.clip(clip))
        for layers in characters.layers.values():
            layers.prepare()
            if moved and layers.at_canvas_size and not layers.clip.moves:
                finder.textures(layers).of(index % characters.clip.count)
        characters.cut_outs(index % characters.clip.count)

    def perform(self, run: str, scene: SceneFile, who: str) -> dict[str, Any]:
        """What a character of a scene with a template does before it is placed, for the page to draw.

        For each picture of the scene `order`, the frame of its clip, and `poses` of the template; `home` of each frame
        of its clip takes its own motion out, and `centre` is where it starts, in normalized coordinates of the clip.
        """
        from eqvid_tf.rendering.scene import lasting

        character = next((one for one in scene.characters if one.id == who), None)
        if character is None:
            raise ValueError(f"the scene has no character {who!r:.40}.")
        layers = self._finder(run).clip(scene.clips[character.clip]).numbered(character.character)
        actor, clip = self._stage(run, scene).perform(character, layers).actor, layers.clip
        template = lasting(character.template, scene.frames, scene.rate)
        centre = actor.poses.centres[actor.home]
        homes = {k: affine_near(home @ clip.view.from_frame[k], centre) for k, home in actor.home_from_frame.items()}
        return {
            "order": list(map(int, actor.order)),
            "poses": template.poses()[:, :2].tolist(),
            "home": {str(k): home.tolist() for k, home in homes.items()},
            "centre": centre.tolist(),
        }

    def transfer(self, run: str, clip: str, number: int, frames: tuple[int, int], name: str) -> Path:
        """Keep the motion of a character between two frames as a template, spread evenly over the time between them."""
        characters = self._finder(run).clip(self.places.clip(clip))
        first, last = frames
        if not 0 <= first < last < characters.clip.count or last - first > LONGEST_TRANSFER:
            raise ValueError(
                f"a motion is taken from two frames of {clip}, 0 to {characters.clip.count - 1}, the second later and "
                f"at most {LONGEST_TRANSFER} frames after the first; received {first} and {last}."
            )
        layers = characters.numbered(number)
        motion = homogeneous(layers.align_motions([first, last])[0])
        own = frame_from_template(layers.clip.size, layers.centres[first])
        step = np.linalg.inv(own) @ motion @ own
        fps = layers.clip.fps / (last - first)
        source = {"clip": clip, "model": run, "frames": f"{first}:{last + 1}"}
        once = Template(name=name, fps=max(fps, 1e-2), steps=step[None, :2], source=source)
        return write(once.resampled(layers.clip.fps), self.places.folder("motions"))

    def background(self, run: str, clip: str) -> np.ndarray:
        """The background of a trained clip as the model remembers it, uint8 [h, w, 3]."""
        from eqvid_tf.exports.backgrounds import trained_backgrounds
        from eqvid_tf.model_folder import read_config

        folder = self.places.run(run)
        found = trained_backgrounds(self._finder(run).model, read_config(folder).clips)
        if clip not in found:
            raise ValueError(f"the model {run} remembers no background of {clip}.")
        return found[clip]

    def _stage(self, run: str, scene: SceneFile) -> SceneStage:
        from eqvid_tf.rendering.scene import SceneStage

        return SceneStage(self._finder(run), scene, cast=self._actors)

    def _cast(self, *values: Any, **how: Any) -> Actor:
        from eqvid_tf.rendering.videos import cast_actor

        return cast_actor(*values, **how)

    def _finder(self, run: str) -> FrameFinder:
        folder = self.places.run(run)
        return self._finders(folder, _state_of(folder))

    def _new_finder(self, folder: Path, state: tuple[float, ...]) -> FrameFinder:
        from eqvid_tf.model_folder import load
        from eqvid_tf.rendering.shots import FrameFinder
        from eqvid_tf.separation.cast import Cast

        return FrameFinder(load(folder), cast=Cast.read(folder))


def _state_of(folder: Path) -> tuple[float, ...]:
    """When a model folder's model and cast were written; other ones are opened anew."""
    files = (folder / "model.keras", folder / "cast.json")
    return tuple(file.stat().st_mtime if file.is_file() else 0.0 for file in files)
