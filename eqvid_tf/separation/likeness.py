"""Who is who in the parts of a film: characters of two parts that look alike get one name."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from eqvid_tf.separation.cast import CastEntry

LEVELS = 6  # of each colour channel that a histogram tells apart
ALIKE = 0.85  # overlap of two histograms: two halves of a clip reach it (52 of 54), of two characters one pair in 50


def colour_histogram(frames: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """The share of each colour within a character, [LEVELS ** 3]; zeros where it is seen nowhere.

    Shapes: frames uint8 [T, h, w, 3], coverage [T, h, w] in [0, 1].
    """
    colours = frames[coverage > 0.5].astype(int) * LEVELS // 256
    counts = np.bincount(colours @ [LEVELS**2, LEVELS, 1], minlength=LEVELS**3)
    return counts / max(counts.sum(), 1)


def with_shared_names(
    entries: Sequence[CastEntry], films: Sequence[Hashable], colours: Sequence[np.ndarray]
) -> list[CastEntry]:
    """The characters with one name for those of several parts of a film that look alike.

    Part by part, the two that are most alike first; no two characters of a part get the same name.

    Args:
        entries: characters of clips, in the order of the clips.
        films: of each the film that its clip is a part of.
        colours: of each its `colour_histogram`.

    Source: the overlap is Bhattacharyya's coefficient.
    """
    found, parts = list(entries), [entry.clip for entry in entries]
    roots = np.sqrt(np.reshape(colours, (len(found), LEVELS**3)))
    overlap = roots @ roots.T
    pairs = [
        (a, b) for a, b in np.argwhere(overlap >= ALIKE) if films[a] == films[b] and a < b and parts[a] != parts[b]
    ]
    for earlier, later in sorted(pairs, key=lambda pair: (parts.index(parts[pair[1]]), -overlap[pair])):
        taken = {entry.name for entry in found if entry.clip == parts[later]}
        if found[later] == entries[later] and found[earlier].name not in taken:
            found[later] = dataclasses.replace(found[later], name=found[earlier].name)
    return found
