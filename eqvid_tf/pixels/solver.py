"""TODO."""

from __future__ import annotations

import numpy as np


def least_squares(slopes: np.ndarray, values: np.ndarray, weight: np.ndarray, damping: float = 1e-9) -> np.ndarray:
    """Weighted least squares, held down where the places do not tell: by `damping` times the trace of the normal matrix."""
    weighted = slopes * weight[:, None]
    normal = weighted.T @ slopes
    return np.linalg.solve(
        normal + np.diag(damping * np.trace(normal) + 1e-6 * np.ones(len(normal))), weighted.T @ values
    )
