"""The least squares of every registration step: camera, texture."""

from __future__ import annotations

import numpy as np


def least_squares(slopes: np.ndarray, values: np.ndarray, weight: np.ndarray, damping: float = 1e-9) -> np.ndarray:
    """Find the step p that makes slopes @ p most like the values, weighted, as one step of Gauss-Newton asks.

    Shapes: slopes [N, P], values [N], weight [N] -> [P] float64.

    Args:
        slopes: derivative of each value by each parameter.
        values: residuals that the step is to explain.
        weight: what each of them counts.
        damping: as a share of the normal matrix's trace; keeps parameters small that the values do not determine.
    """
    weighted = slopes * weight[:, None]
    normal = weighted.T @ slopes
    return np.linalg.solve(
        normal + np.diag(damping * np.trace(normal) + 1e-6 * np.ones(len(normal))), weighted.T @ values
    )
