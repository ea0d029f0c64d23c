"""Sheets and tables."""

import numpy as np
import pytest

from eqvid_tf.pixels import sheets


def test_every_kind_of_picture_becomes_rgb():
    ramp = np.linspace(0, 1, 6).reshape(2, 3)
    grey = np.rint(ramp * 255).astype(np.uint8)
    expected = np.repeat(grey[..., None], 3, -1)
    for picture in (ramp, ramp[..., None], grey, np.repeat(ramp[..., None], 3, -1), expected):
        np.testing.assert_array_equal(sheets.as_rgb(picture), expected)
    np.testing.assert_array_equal(sheets.as_rgb(ramp > 0.5), np.repeat(((ramp > 0.5) * 255)[..., None], 3, -1))
    np.testing.assert_array_equal(sheets.as_rgb(np.array([[np.nan, 2.0, -1.0]]))[0, :, 0], [0, 255, 0])


def test_transparent_parts_show_a_checkerboard():
    layer = np.zeros((8, 8, 4))
    layer[:4] = 1, 0, 0, 1
    drawn = sheets.as_rgb(layer)
    assert (drawn[:4] == [255, 0, 0]).all()
    assert len(np.unique(drawn[4:])) == 2 and (drawn[4:, :4] != drawn[4:, 4:]).all()


def test_a_batch_is_no_picture():
    with pytest.raises(ValueError, match=r"picture must be .*received \(1, 4, 4, 3\)"):
        sheets.as_rgb(np.zeros((1, 4, 4, 3)))


def test_an_error_map_is_black_where_equal_and_white_at_full_error():
    expected, received = np.zeros((1, 3)), np.array([[0.0, 0.05, 0.5]])
    equal, small, full = sheets.error_map(expected, received)[0]
    assert (equal == 0).all() and (full == 255).all()
    assert small[0] > 100 > small[1] == small[2] == 0


def test_a_path_starts_and_ends_at_its_places():
    frame = np.zeros((20, 40, 3))
    drawn = sheets.draw_path(frame, np.array([[-0.5, 0.0], [0.5, 0.0]]), scale=5)
    assert drawn.shape == (100, 200, 3)
    ys, xs = np.nonzero((drawn == [255, 60, 40]).all(-1))  # the dot at the end: x = .5 is pixel 150 of 200
    assert abs(xs.mean() - 149.5) < 1 and abs(ys.mean() - 49.5) < 1
    assert (drawn[49:51, 100] == [40, 60, 255]).all(-1).any()  # a single step is blue


def places(sheet, colour):
    """Bounding box of a colour: top, left, bottom, right."""
    ys, xs = np.nonzero((sheet == colour).all(-1))
    return ys.min(), xs.min(), ys.max() + 1, xs.max() + 1


def test_a_sheet_enlarges_whole_pixels_and_keeps_the_order():
    rows = [[np.full((8, 8, 3), (1.0, 0, 0)), np.full((4, 4, 3), (0, 1.0, 0))], [np.full((8, 8, 3), (0, 0, 1.0)), None]]
    sheet = sheets.contact_sheet(rows, column_titles=["frame", "mask"], row_titles=["a", "b"], title="Cut", scale=10)
    red, green, blue = (places(sheet, [255 * (k == c) for k in range(3)]) for c in range(3))
    assert [(bottom - top, right - left) for top, left, bottom, right in (red, green, blue)] == [
        (80, 80),
        (40, 40),
        (80, 80),
    ]
    assert red[1] == blue[1] < green[1] and red[0] < green[0] < blue[0]
    assert (sheet[: red[0]] < 128).any() and (sheet[:, : red[1]] < 128).any()  # titles above and at the left


def test_small_pictures_of_all_sizes_come_out_equally_high():
    rows = [[np.full((64, 64, 3), (1.0, 0, 0)), np.full((192, 192, 3), (0, 1.0, 0))]]
    sheet = sheets.contact_sheet(rows, column_titles=["", ""], captions=[["below"]])
    red, green = (places(sheet, colour) for colour in ([255, 0, 0], [0, 255, 0]))
    assert red[2] - red[0] == green[2] - green[0] == 192 and red[0] == green[0]
    assert (sheet[red[2] :, red[1] : red[3]] < 160).any() and (sheet[red[2] :, green[1] :] == 255).all()


def test_long_titles_wrap_and_stay_on_the_sheet():
    long = sheets.contact_sheet([[np.zeros((64, 64))]], column_titles=["background of the whole clip " * 3])
    short = sheets.contact_sheet([[np.zeros((64, 64))]], column_titles=["background"])
    assert long.shape[1] == short.shape[1] and long.shape[0] >= short.shape[0] + 40


@pytest.mark.parametrize("rows, titles", [([["words alone"]], ["a"]), ([[np.zeros((4, 4))] * 2], ["a"]), ([], ["a"])])
def test_a_sheet_needs_pictures_that_fit_its_titles(rows, titles):
    with pytest.raises(ValueError, match="rows must hold pictures and fit the titles"):
        sheets.contact_sheet(rows, column_titles=titles)


def test_a_table_is_aligned():
    lines = sheets.text_table([["a", 1.23456, 7], ["longer", None, 12]], ["scene", "psnr", "frames"], digits=2).split(
        "\n"
    )
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| :----- | ---: | -----: |"
    assert lines[2] == "| a      | 1.23 |      7 |"
