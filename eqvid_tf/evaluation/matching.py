"""Match two sets one to one, so that the sum of what the pairs score is the largest."""

from __future__ import annotations

import numpy as np


def match(score: np.ndarray) -> list[int | None]:
    """For each row the column that it is matched with; None where there are fewer columns than rows.

    Convention: the score of leaving a row or a column alone is 0.

    Shapes: [rows, columns], at least 0 each.

    Source: R. Jonker and A. Volgenant, A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment
    Problems, Computing 1987.

    Example:
        >>> match(np.array([[0.9, 0.8], [0.7, 0.0], [0.0, 0.1]]))
        [1, 0, None]
    """
    rows, columns = score.shape
    side = max(rows, columns)
    cost = np.zeros((side, side))
    cost[:rows, :columns] = -score
    row_of, potential = np.full(side, -1), np.zeros((2, side))
    for row in range(side):
        _augment(cost, row, row_of, potential)
    column_of = {int(row): column for column, row in enumerate(row_of)}
    return [column_of[row] if column_of[row] < columns else None for row in range(rows)]


def _augment(cost: np.ndarray, row: int, row_of: np.ndarray, potential: np.ndarray) -> None:
    """Match one more row, along the shortest path of exchanges; `row_of` and the potentials change in place."""
    of_row, of_column = potential
    least, before = np.full(len(cost), np.inf), np.full(len(cost), -1)
    visited: list[int] = []
    path, column, distance = [row], -1, 0.0
    while True:
        current = path[-1]
        reached = distance + cost[current] - of_row[current] - of_column
        free = ~np.isin(np.arange(len(cost)), visited)
        better = free & (reached < least)
        least[better], before[better] = reached[better], column
        column = int(np.where(free, least, np.inf).argmin())
        distance = least[column]
        if row_of[column] < 0:
            break
        visited.append(column)
        path.append(int(row_of[column]))
    of_row[row] += distance
    for seen in visited:
        of_row[row_of[seen]] += distance - least[seen]
        of_column[seen] -= distance - least[seen]
    while column >= 0:
        row_of[column] = row if before[column] < 0 else row_of[before[column]]
        column = before[column]
