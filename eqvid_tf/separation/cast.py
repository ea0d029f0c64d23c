"""The cast of a model: the name of each character over all its clips, and which of them are joined or dropped.

A character's number is local to a clip and never shifts; a model folder's cast.json maps (clip, number) to a name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from eqvid_tf.data.output import OutputError, write_text
from eqvid_tf.separation.corrections import Correction, read_corrections

FORMAT = 1  # of cast.json
FORBIDDEN = ",:="  # in a name: they part names, clips and numbers on the command line


class CastError(ValueError):
    """A name or a number that is not there, or an edit that cannot be made: one line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CastEntry:
    """A character of a clip.

    Attributes:
        clip: name of the clip.
        number: of the character in that clip.
        name: over all clips of the model; by default CLIP-NUMBER.
        frames: number of frames of the clip, as it was trained on.
        first: first frame that shows it; None where none does.
        last: last frame that shows it; None where none does.
        box: of all that is seen of it: (left, top, right, bottom) in pixels.
        share: of the frame that it covers where it is seen.
        merged_into: number of the character of the same clip that it is joined to; None: to none.
        dropped: whether it is left out of every command.
    """

    clip: str
    number: int
    name: str
    frames: int
    first: int | None = None
    last: int | None = None
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    share: float = 0.0
    merged_into: int | None = None
    dropped: bool = False

    @property
    def active(self) -> bool:
        """Whether it is a character of its own."""
        return self.merged_into is None and not self.dropped

    @property
    def picture(self) -> str:
        """The path of its picture in a model folder."""
        return f"cast/{self.clip}-{self.number}.png"

    @property
    def label(self) -> str:
        """What the command line calls it, with its name."""
        return f"{self.clip}:{self.number} ({self.name})"

    def to_json(self) -> dict:
        """Its entry in cast.json; `merged_into` and `dropped` only where they say something."""
        values = dataclasses.asdict(self)
        idle = ["merged_into"] * (self.merged_into is None) + ["dropped"] * (not self.dropped)
        return {key: value for key, value in values.items() if key not in idle}


def default_name(clip: str, number: int) -> str:
    """The name of a character that was given none."""
    return f"{clip}-{number}"


@dataclasses.dataclass(frozen=True)
class Cast:
    """The characters of a model. An edit gives a new cast.

    A character is given as text: a name, CLIP:NUMBER, or a number where only one clip has a character of that number.

    Attributes:
        characters: of all clips; empty for a model folder that was written before there was a cast.
        corrections: what was painted of their masks.
    """

    characters: tuple[CastEntry, ...] = ()
    corrections: tuple[Correction, ...] = ()

    @classmethod
    def read(cls, folder: str | Path) -> Cast:
        """The cast of a model folder; empty where it has none.

        Raises:
            OutputError: cast.json or a correction is damaged, or of a later format.
        """
        path, corrections = Path(folder) / "cast.json", read_corrections(folder)
        if not path.is_file():
            return cls(corrections=corrections)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise OutputError(f"{path}: its format is {found['format']!r}; this package reads {FORMAT}.")
            entries = [CastEntry(**{**entry, "box": tuple(entry["box"])}) for entry in found["characters"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{path}: this is no cast that can be read. Restore it, or train again.") from error
        return cls(tuple(entries), corrections)

    def write(self, folder: Path) -> None:
        """Write cast.json of a model folder, completely or not at all."""
        entries = [entry.to_json() for entry in self.characters]
        write_text(folder / "cast.json", json.dumps({"format": FORMAT, "characters": entries}, indent=1))

    def with_entries(self, entries: Iterable[CastEntry]) -> Cast:
        """The cast with more characters; a clip and number that it has already stays as it is."""
        known = {(entry.clip, entry.number): entry for entry in self.characters}
        for entry in entries:
            known.setdefault((entry.clip, entry.number), entry)
        return Cast(tuple(known.values()), self.corrections)

    def names(self) -> list[str]:
        """The names of the characters, each once, in order."""
        return list(dict.fromkeys(entry.name for entry in self.characters if entry.active))

    def name_numbers(self) -> tuple[int, ...]:
        """The number of each character's name among `names`, in the order of the cast; -1 for one that is dropped."""
        names, by_label = self.names(), {(entry.clip, entry.number): entry for entry in self.characters}
        stays = [by_label[(e.clip, e.number if e.merged_into is None else e.merged_into)] for e in self.characters]
        return tuple(names.index(entry.name) if entry.active else -1 for entry in stays)

    def of_clip(self, clip: str, frames: int | None = None) -> tuple[CastEntry, ...]:
        """The characters of a clip, joined and dropped ones, too; none of a clip with another number of frames."""
        found = tuple(entry for entry in self.characters if entry.clip == clip)
        return tuple(entry for entry in found if frames in (None, entry.frames))

    def corrections_of(self, clip: str, frames: int, number: int) -> tuple[Correction, ...]:
        """What was painted of the masks of a character of a clip."""
        return tuple(c for c in self.corrections if (c.clip, c.frames, c.character) == (clip, frames, number))

    def find(self, who: str) -> list[CastEntry]:
        """The characters that are meant: of a name, one of each clip that has it.

        Raises:
            CastError: there is none, or several clips have a character of that number.
        """
        named = [entry for entry in self.characters if entry.name == who]
        if found := [entry for entry in named if entry.active] or named:
            return found
        clip, _, number = who.rpartition(":")
        fits = [entry for entry in self.characters if str(entry.number) == number and clip in ("", entry.clip)]
        if len(fits) == 1:
            return fits
        there = ", ".join(entry.label for entry in fits or self.characters)
        if fits:
            raise CastError(f"{who} is a character of several clips; give CLIP:NUMBER or a name: {there}")
        raise CastError(f"there is no character {who}; there are {there}")

    def rename(self, who: str, name: str) -> Cast:
        """Give a character a name. One that a character of another clip has makes both one character of the model.

        Raises:
            CastError: it is not there or no character of its own, or the name is no name or taken in its clip.
        """
        if not name or not name.isprintable() or name != name.strip() or name.isdecimal() or set(name) & set(FORBIDDEN):
            raise CastError(f"a name must be a text without {' '.join(FORBIDDEN)} and no number; received {name!r}")
        found = [self._active(entry) for entry in self.find(who)]
        return self._changed(found, name=name)._checked()

    def merge(self, *whos: str) -> Cast:
        """Join characters: of one clip their pixels, the lowest number stays; of several clips, they get one name.

        Raises:
            CastError: one is not there or no character of its own, there are not two, or a name is taken.
        """
        found = list(dict.fromkeys(self._active(entry) for who in whos for entry in self.find(who)))
        if len(found) < 2:
            raise CastError(f"a merge joins two characters or more; received {', '.join(whos)}")
        cast, stays = self, []
        for clip in dict.fromkeys(entry.clip for entry in found):
            numbers = sorted(entry.number for entry in found if entry.clip == clip)
            gone = [e for e in self.of_clip(clip) if e.number in numbers[1:] or e.merged_into in numbers[1:]]
            cast = cast._changed(gone, merged_into=numbers[0])
            stays += [entry for entry in cast.of_clip(clip) if entry.number == numbers[0]]
        name = next(entry.name for entry in stays if entry.clip == found[0].clip)
        return cast._changed(stays, name=name)._checked() if len(stays) > 1 else cast

    def split(self, who: str) -> Cast:
        """Undo merges and drops of a character: all of that number, or of that name, are characters of their own again.

        Raises:
            CastError: it is not there, or there is nothing to undo.
        """
        found = self.find(who)
        numbers = {(entry.clip, entry.number) for entry in found}
        joined = [e for e in self.characters if (e.clip, e.merged_into) in numbers or (e in found and not e.active)]
        shared = [
            e for e in found if e.active and any(o.name == e.name and o.active and o != e for o in self.characters)
        ]
        if not joined and not shared:
            raise CastError(f"{who} is not joined to another character, nor dropped; there is nothing to split")
        cast = self._changed(joined, merged_into=None, dropped=False)
        for entry in (*shared, *joined):
            entry = next(e for e in cast.characters if (e.clip, e.number) == (entry.clip, entry.number))
            if entry in shared or cast._taken(entry):
                cast = cast._changed([entry], name=default_name(entry.clip, entry.number))
        return cast._checked()

    def drop(self, who: str) -> Cast:
        """Leave a character out of every command; what it covers is restless background.

        Raises:
            CastError: it is not there, or its clip has no other.
        """
        found = [self._active(entry) for entry in self.find(who)]
        cast = self._changed(found, dropped=True)
        for entry in found:
            if not any(other.active for other in cast.of_clip(entry.clip)):
                raise CastError(f"without {who} there is no character left in {entry.clip}")
        return cast

    def _active(self, entry: CastEntry) -> CastEntry:
        """The entry, if it is a character of its own; else a CastError."""
        if entry.dropped:
            raise CastError(f"{entry.label} is dropped; --split {entry.clip}:{entry.number} takes it back")
        if entry.merged_into is not None:
            raise CastError(f"{entry.label} is joined to {entry.clip}:{entry.merged_into}; --split undoes that")
        return entry

    def _changed(self, entries: Sequence[CastEntry], **values: object) -> Cast:
        """The cast with other values in some entries."""
        change: Callable[[CastEntry], CastEntry] = lambda entry: dataclasses.replace(entry, **values)  # type: ignore
        changed = tuple(change(entry) if entry in entries else entry for entry in self.characters)
        return Cast(changed, self.corrections)

    def _taken(self, entry: CastEntry) -> bool:
        """Whether another character of the same clip has the name of an active entry."""
        others = [other for other in self.of_clip(entry.clip) if other.active and other.number != entry.number]
        return entry.active and entry.name in [other.name for other in others]

    def _checked(self) -> Cast:
        """The cast, if no clip has two characters of one name; else a CastError."""
        for entry in self.characters:
            if self._taken(entry):
                raise CastError(f"{entry.clip} has two characters named {entry.name} then; --merge makes two one")
        return self
