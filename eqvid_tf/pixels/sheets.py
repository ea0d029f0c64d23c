"""Pictures and tables for people: contact sheets, layers on a checkerboard, error maps, paths.

Convention: a picture is [H, W] or [H, W, 1] grey, [H, W, 3] RGB or [H, W, 4] RGBA with straight alpha, as uint8, bool,
or float in [0, 1]. Results are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Cell = np.ndarray | str | None
PAPER, TEXT, FAINT = (255, 255, 255), (24, 24, 32), (120, 120, 132)
FONT, TITLE_FONT = 15, 20  # pixels
GAP = 8  # pixels between cells
HEIGHT = 192  # pixels to which small pictures are enlarged: frames of 64 pixels three times
SQUARE = 4  # pixels: side of the squares of a checkerboard
FULL_ERROR = 0.25  # difference, of 1, that is white in an error map


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Convert any picture to uint8 RGB; transparent parts show a checkerboard.

    Raises:
        ValueError: the array is no picture.

    Example:
        >>> as_rgb(np.array([[0.0, 1.0]])).tolist()
        [[[0, 0, 0], [255, 255, 255]]]
    """
    picture = np.asarray(picture)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"picture must be [H, W], or [H, W, 1, 3 or 4]; received {picture.shape}. Drop the batch axis."
        )
    unit = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
    if unit.shape[-1] == 4:
        unit = unit[..., 3:] * unit[..., :3] + (1 - unit[..., 3:]) * _checkerboard(unit.shape[:2])
    return np.rint(np.clip(np.nan_to_num(np.broadcast_to(unit, (*unit.shape[:2], 3))), 0, 1) * 255).astype(np.uint8)


def _checkerboard(size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(n) // SQUARE for n in size)
    return (0.62 + 0.2 * ((rows[:, None] + columns) % 2))[..., None].astype(np.float32)


def error_map(expected: np.ndarray, received: np.ndarray) -> np.ndarray:
    """Show where two pictures differ: from black (equal) through red and yellow to white (by a quarter or more).

    Shapes: two pictures of one size -> [H, W, 3] uint8.
    """
    difference = as_rgb(expected).astype(np.float32) / 255 - as_rgb(received).astype(np.float32) / 255
    heat = np.abs(difference).max(-1, keepdims=True) / FULL_ERROR
    return np.rint(np.clip(heat * 3 - np.arange(3), 0, 1) * 255).astype(np.uint8)


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge every pixel to a square of scale x scale, so that small frames can be looked at."""
    return np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1)


def draw_path(frame: np.ndarray, centres: np.ndarray, *, scale: int = 1) -> np.ndarray:
    """Draw a path over a frame, from blue (start) to red (end), with a ring at the start and a dot at the end.

    Convention: centres in normalized coordinates, the frame's outer edges at -1 and +1.

    Shapes: a picture [H, W(, c)], centres [T, 2] -> [scale H, scale W, 3] uint8.
    """
    picture = enlarged(as_rgb(frame), scale)
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    draw, thick = ImageDraw.Draw(image), max(1, round(min(height, width) / 100))
    points = (np.asarray(centres, np.float64) + 1) / 2 * [width, height] - 0.5
    for k in range(len(points) - 1):
        late = k / max(len(points) - 2, 1)
        colour = (round(40 + 215 * late), 60, round(255 - 215 * late))
        draw.line([*map(tuple, points[k : k + 2])], fill=colour, width=thick)
    for (x, y), fill in ((points[0], None), (points[-1], (255, 60, 40))):
        r = 2.5 * thick
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=PAPER, width=thick)
    return np.asarray(image)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _label(text: str, size: int, width: int | None, colour: tuple[int, int, int] = TEXT) -> np.ndarray:
    """Text in centred lines no wider than `width`; a longer word is cut off."""
    font, lines = _font(size), []
    for paragraph in text.split("\n"):
        lines.append("")
        for word in paragraph.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if width and lines[-1] and font.getlength(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
    width = width or int(max(font.getlength(line) for line in lines)) + 2
    step = round(1.3 * size)
    image = Image.new("RGB", (width, step * len(lines)), PAPER)
    draw = ImageDraw.Draw(image)
    for k, line in enumerate(lines):
        draw.text((max((width - font.getlength(line)) / 2, 0), k * step), line, font=font, fill=colour)
    return np.asarray(image)


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture in the middle of an empty one of at least that size."""
    short = [max(n - m, 0) for n, m in zip((height, width), picture.shape)]
    around = [(n // 2, n - n // 2) for n in short]
    return np.stack([np.pad(picture[..., k], around, constant_values=PAPER[k]) for k in range(3)], -1)


def _scale(cell: np.ndarray, scale: int | None, height: int) -> int:
    return scale or max(1, round(height / np.shape(cell)[0]))


def _cell(cell: Cell, scale: int | None, height: int, size: tuple[int, int]) -> np.ndarray:
    """A cell as a picture of a given size; a string is written, None stays empty."""
    if cell is None or isinstance(cell, str):
        return _padded(_label(cell or "", FONT, size[1]), *size)
    return _padded(enlarged(as_rgb(cell), _scale(cell, scale, height)), *size)


def contact_sheet(
    rows: Sequence[Sequence[Cell]],
    *,
    column_titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
    captions: Sequence[Sequence[str]] | None = None,
    scale: int | None = None,
    title: str | None = None,
) -> np.ndarray:
    """Arrange pictures in rows and columns with their names, on one sheet.

    Args:
        rows: of pictures (any kind, see the module), strings, or None for an empty place; short rows are filled up.
        column_titles: a name above each column.
        row_titles: a name at the left of each row.
        captions: a line under each picture, in the layout of `rows`.
        scale: how many times to enlarge, by whole pixels; by default so that pictures of all sizes come out
            about equally high, 192 pixels at least.
        title: a line above everything.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: no picture at all, or titles that do not fit the rows.

    Example:
        >>> sheet = contact_sheet([[np.zeros((64, 64)), np.ones((64, 64, 3))]], column_titles=["mask", "frame"])
        >>> sheet.shape[2], sheet.dtype
        (3, dtype('uint8'))
    """
    columns = len(column_titles)
    pictures = [np.asarray(cell) for row in rows for cell in row if not isinstance(cell, str | None)]
    if not pictures or max(map(len, rows)) > columns or len(row_titles or rows) != len(rows):
        received = (
            f"rows of {[len(row) for row in rows]}, {columns} column titles and {len(row_titles or rows)} row titles"
        )
        raise ValueError(f"rows must hold pictures and fit the titles; received {received}. Give a title for each.")
    height = max(HEIGHT, *(picture.shape[0] for picture in pictures))
    scaled = lambda axis: max(_scale(picture, scale, height) * picture.shape[axis] for picture in pictures)
    size = (scaled(0), scaled(1))
    grid = [[_label(text, FONT, size[1]) for text in column_titles]]
    for k, row in enumerate(rows):
        cells = [_cell(cell, scale, height, size) for cell in [*row, *[None] * (columns - len(row))]]
        grid.append(_captioned(cells, captions[k], size[1]) if captions else cells)
    if row_titles:
        names = [_label(text, FONT, None) for text in ("", *row_titles)]
        grid = [[name, *cells] for name, cells in zip(names, grid)]
    sheet = _arranged(grid)
    if title:
        head = _label(title, TITLE_FONT, sheet.shape[1] - 2 * GAP)
        sheet = np.concatenate([_padded(head, head.shape[0] + GAP, sheet.shape[1]), sheet])
    return sheet


def _captioned(cells: list[np.ndarray], captions: Sequence[str], width: int) -> list[np.ndarray]:
    """Each cell with its caption under it, all of one height."""
    texts = [_label(text, FONT, width, FAINT) for text in [*captions, *[""] * (len(cells) - len(captions))]]
    height = max(text.shape[0] for text in texts)
    rest = [np.full((height - text.shape[0], width, 3), PAPER, np.uint8) for text in texts]
    return [np.concatenate(parts) for parts in zip(cells, texts, rest)]


def _arranged(grid: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures of any sizes in a grid, each in the middle of its cell."""
    widths = [max(row[k].shape[1] for row in grid) + GAP for k in range(len(grid[0]))]
    heights = [max(cell.shape[0] for cell in row) + GAP for row in grid]
    lines = [[_padded(cell, h, w) for cell, w in zip(row, widths)] for row, h in zip(grid, heights)]
    sheet = np.concatenate([np.concatenate(line, axis=1) for line in lines])
    return _padded(sheet, sheet.shape[0] + GAP, sheet.shape[1] + GAP)


def text_table(rows: Sequence[Sequence[object]], header: Sequence[str], *, digits: int = 3) -> str:
    """Write a table in Markdown, its columns aligned; None is a dash.

    Args:
        rows: of texts and numbers.
        header: a name for each column.
        digits: of a float after the point.

    Example:
        >>> print(text_table([["ladybird", 31.25], ["robot", None]], ["scene", "psnr"], digits=1))
        | scene    | psnr |
        | :------- | ---: |
        | ladybird | 31.2 |
        | robot    |    – |
    """

    def written(value: object) -> str:
        return "–" if value is None else f"{value:.{digits}f}" if isinstance(value, float | np.floating) else str(value)

    lines = [[str(name) for name in header], *([written(value) for value in row] for row in rows)]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(header))]
    numbers = [all(not isinstance(row[k], str) for row in rows) for k in range(len(header))]
    rule = ["-" * (w - 1) + ":" if number else ":" + "-" * (w - 1) for w, number in zip(widths, numbers)]
    lines.insert(1, rule)
    aligned = ([f"{cell:>{w}}" if n else f"{cell:<{w}}" for cell, w, n in zip(line, widths, numbers)] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in aligned)
