"""GrabCut, by OpenCV: a mask along the colours of a picture, from labels that say what is known and what is likely.

Source: C. Rother, V. Kolmogorov, A. Blake: "GrabCut", SIGGRAPH 2004.
"""

from __future__ import annotations

import cv2
import numpy as np

Colours = tuple[np.ndarray, np.ndarray]  # of background and character, as OpenCV describes them


def learn_colours(picture: np.ndarray, labels: np.ndarray, rounds: int = 1) -> Colours:
    """Learn the colours of both, and cut along them: the labels [h, w] of a picture [h, w, 3] are changed in place."""
    colours = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # of the clusters of colours: the same mask at each call
    cv2.grabCut(picture, labels, (0, 0, 0, 0), *colours, rounds, cv2.GC_INIT_WITH_MASK)
    return colours


def cut_by(picture: np.ndarray, labels: np.ndarray, colours: Colours) -> None:
    """Cut a picture [h, w, 3] along known colours: its labels [h, w] are changed in place."""
    cv2.grabCut(picture, labels, (0, 0, 0, 0), *colours, 1, cv2.GC_EVAL_FREEZE_MODEL)


def of_character(labels: np.ndarray) -> np.ndarray:
    """What labels [h, w] give to the character, surely or likely, bool [h, w]."""
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
