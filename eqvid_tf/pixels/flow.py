"""Optical flow between two pictures.

Source: T. Kroeger, R. Timofte, D. Dai, L. Van Gool, Fast Optical Flow using Dense Inverse Search, ECCV 2016; by OpenCV.
"""

from __future__ import annotations

import cv2
import numpy as np


def optical_flow(first: np.ndarray, second: np.ndarray, preset: int = cv2.DISOPTICAL_FLOW_PRESET_FAST) -> np.ndarray:
    """By how many pixels (x, y) what the first picture shows has moved in the second.

    Shapes: [h, w] uint8 in grey, both -> [h, w, 2] float32.
    """
    flow = cv2.DISOpticalFlow.create(preset).calc(first, second, None)  # type: ignore[call-overload]
    return np.asarray(flow)
