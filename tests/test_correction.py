"""A mask that a person paints on one frame: carried along to all, and learned."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import step_by_step, undiagnosed
from PIL import Image
from test_characters import BACKGROUND, BLUE, BLUE_PATH, COUNT, RED, RED_PATH, SIZE, Model, film

from eqvid_tf import model_folder
from eqvid_tf.cli import main
from eqvid_tf.config import TrainConfig
from eqvid_tf.data.clips import open_clip, read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.model_folder import read_config
from eqvid_tf.separation.cast import Cast
from eqvid_tf.separation.characters import ClipCharacters
from eqvid_tf.separation.corrections import CorrectionError, Stroke, changed_part, read_painting, split_by_motion
from eqvid_tf.serving import saved_model
from eqvid_tf.training import correction

PAINTED = 6  # the frame


def motions_from(path, index):
    """The motion of a character from a frame to each, [T, 2, 3]."""
    shifts = (path - path[index]) / (np.array(SIZE[::-1]) / 2)
    return np.concatenate([np.tile(np.eye(2), (COUNT, 1, 1)), shifts[..., None]], -1)


def masks(path, cut_out, rows=None):
    """The true masks of a character, or of some rows of it, [T, H, W]."""
    out, rows = np.zeros((COUNT, *SIZE), np.float32), rows or cut_out.shape[0]
    for mask, (x, y) in zip(out, path):
        mask[y : y + rows, x : x + cut_out.shape[1]] = 1
    return out


def test_white_is_the_character_and_what_is_transparent_says_nothing(tmp_path):
    grey = np.zeros((4, 6), np.uint8)
    grey[1] = 255
    write_png(tmp_path / "whole.png", grey)
    coverage, where = np.moveaxis(read_painting(tmp_path / "whole.png", (4, 6)), -1, 0)
    np.testing.assert_array_equal(coverage, grey / 255)
    assert where.min() == 1
    strokes = np.zeros((4, 6, 4), np.uint8)
    strokes[2, 3], strokes[0, 0] = (255, 255, 255, 255), (0, 0, 0, 255)
    write_png(tmp_path / "strokes.png", strokes)
    changed = changed_part(
        read_painting(tmp_path / "strokes.png", (4, 6)), np.ones((4, 6)) * (np.arange(4) < 2)[:, None]
    )
    assert np.argwhere(changed[..., 1]).tolist() == [[0, 0], [2, 3]] and changed[2, 3, 0] == 1 and changed[0, 0, 0] == 0
    with pytest.raises(CorrectionError, match="frame of 8 x 4 must be as large; received 6 x 4"):
        read_painting(tmp_path / "whole.png", (4, 8))


def test_what_was_added_goes_along_but_not_onto_what_looks_different():
    frames = film((RED, RED_PATH), (BLUE, BLUE_PATH))
    upper = masks(RED_PATH, RED, 5)
    picture = np.repeat(upper[PAINTED][..., None], 3, -1)
    motions = motions_from(RED_PATH, PAINTED)
    stroke = Stroke(picture=picture, frame=frames[PAINTED], index=PAINTED, motions=motions)
    hidden = masks(BLUE_PATH, BLUE) > 0
    for index in (0, 3, COUNT - 1):
        carried = stroke.carried(frames[index], index)
        free = ~hidden[index] & ~hidden[PAINTED]
        np.testing.assert_allclose(carried[..., 0][free], upper[index][free], atol=0.02)
    green = np.zeros_like(frames[0]) + np.array([0, 255, 0], np.uint8)
    soft = Stroke(picture=0.7 * picture, frame=frames[PAINTED], index=PAINTED, motions=motions + 0.01, coarse=True)
    value, weight = np.moveaxis(soft.carried(frames[3], 3), -1, 0)
    assert weight.max() > 0.5 and 0 <= value.min() and (value <= weight).all()  # between pixels no mask leaves [0, 1]
    assert stroke.carried(green, 3).max() == 0  # a frame that shows nothing of it


def test_what_was_taken_out_stays_where_it_is_or_goes_along_as_the_masks_do():
    body, spot = masks(RED_PATH, RED), np.zeros(SIZE, np.float32)
    spot[38:44, 50:58] = 1
    coverage = np.maximum(body, spot)
    gone = np.maximum(masks(RED_PATH, RED, 4)[PAINTED], spot)
    changed = np.stack([np.zeros(SIZE, np.float32), gone, gone], -1)
    split = split_by_motion(changed, lambda part: part, coverage, motions_from(RED_PATH, PAINTED), PAINTED)
    np.testing.assert_array_equal(split[False][..., 1], spot)
    np.testing.assert_array_equal(split[True][..., 1], gone - spot)


class Headless(Model):
    """Misses the upper rows of RED, and knows how it moves."""

    identity = None

    def coverage(self, frames):
        found = np.asarray(super().coverage(frames)).copy()
        for mask, (_, y) in zip(found, self.encode(frames).numpy().astype(int)):
            mask[: y + 6] = 0
        return tf.constant(found)

    def encode(self, frames):
        """The left and the top of RED in each frame."""
        moving = tf.cast(tf.reduce_max(abs(frames * 255 - BACKGROUND), -1) > 8, tf.float32)
        return tf.cast(tf.stack([tf.argmax(tf.reduce_max(moving, axis), 1) for axis in (1, 2)], -1), tf.float32)

    def motion_between(self, pair):
        shift = (pair["next_features"] - pair["features"]) / (np.array(SIZE[::-1], np.float32) / 2)
        return tf.concat([tf.eye(2, 2, tf.shape(shift)[:1]), shift[..., None]], -1), tf.ones(tf.shape(shift)[:1])


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("red", numbered=False) / "frames"
    for index, frame in enumerate(film((RED, RED_PATH))):
        write_png(folder / f"{index:02d}.png", frame)
    return open_clip(folder, cache=None)


def test_one_painted_frame_mends_all(clip):
    truth = masks(RED_PATH, RED)
    painting = np.stack([truth[PAINTED], np.ones(SIZE)], -1)
    found = correction.propose(Headless(), clip, PAINTED, painting)
    missed = [((mask > 127) != truth[k]).sum() for k, mask in zip(found.frames, found.before)]
    left = [((mask > 127) != truth[k]).sum() for k, mask in zip(found.frames, found.after)]
    assert min(missed) >= 28 and max(left) <= 2, (missed, left)
    assert found.changed.min() > 0.009 and PAINTED in found.frames
    (stroke,) = found.corrections
    assert stroke.moves and (stroke.clip, stroke.character, stroke.frames) == (clip.name, 0, COUNT)
    cast = Cast(corrections=found.corrections)
    layers = ClipCharacters(Headless(), clip, cast=cast).first
    assert ((layers.layer(2, clip.at(2))[..., 3] > 0.5) != truth[2]).sum() <= 2
    assert not ClipCharacters(Headless(), clip, cast=cast, network_only=True).first.corrections


@pytest.fixture
def quick(lent, monkeypatch):
    """A step without a trace, and of a SavedModel one endpoint.

    What is loaded is put into the trained model, whose faces are traced already.
    """

    def load(folder):
        lent.set_weights(model_folder.load(folder).get_weights())
        return lent

    endpoints = saved_model.endpoints
    step_by_step(monkeypatch, correction)
    undiagnosed(monkeypatch)
    monkeypatch.setattr(correction, "load", load)
    monkeypatch.setattr(saved_model, "endpoints", lambda model: {"decode": endpoints(model)["decode"]})


def painted(run, scene, path):
    """A stroke on frame 5 that adds a square at the left of the character, and the square."""
    square = slice(4, 10), slice(2, 8)
    strokes = np.zeros((32, 48, 4), np.uint8)
    strokes[square] = 255
    write_png(path, strokes)
    return square


def test_a_correction_is_in_the_new_model_and_goes_with_it(run, scene, tmp_path, quick):
    path, new = tmp_path / "strokes.png", tmp_path / "new"
    square, clip = painted(run, scene, path), open_clip(scene)
    painting, once = read_painting(path, clip.size), TrainConfig(steps=1, batch_size=4)
    before = {file.relative_to(run): file.stat().st_mtime_ns for file in run.rglob("*")}
    found = correction.correct(run, clip, 5, painting, new, train=once)
    assert {file.relative_to(run): file.stat().st_mtime_ns for file in run.rglob("*")} == before
    (at,) = np.flatnonzero(found.proposal.frames == 5)
    assert found.after[at][square].min() == 255 > found.proposal.before[at][square].max()
    assert read_config(new).clips == ("first",) and read_config(new).model == read_config(run).model
    kept = sorted((new / "kept" / "0" / "masks").iterdir())[5]
    assert read_image(kept)[square].min() > 250  # a later fine-tuning repeats what was painted
    assert found.metrics["finetuned_from"] == run.name and len(Cast.read(new).corrections) == 1
    strokes = np.zeros((32, 48, 4), np.uint8)
    strokes[square] = (0, 0, 0, 255)  # taken back
    again = correction.correct(new, clip, 5, np.stack([strokes[..., 0] / 255, strokes[..., 3] / 255], -1), train=once)
    assert again.after[at][square].max() == 0 and len(Cast.read(new).corrections) == 2
    assert (new / "2" / "saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frame", "5", "--mask", "small.png"], "must be as large; received 3 x 2"),
        (["--frame", "5", "--mask", "none.png"], "there is no such file"),
        (["--frame", "99", "--mask", "strokes.png"], "first: there is no frame 99; it has frames 0 to 23"),
        (["--frame", "5", "--mask", "empty.png"], "the mask changes nothing in frame 5"),
        (["--frame", "5", "--mask", "strokes.png", "--of", "3"], "first has no character 3"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    arguments, said, run, scene, trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)
    painted(run, scene, tmp_path / "strokes.png")
    write_png(tmp_path / "small.png", np.zeros((2, 3), np.uint8))
    write_png(tmp_path / "empty.png", np.zeros((32, 48, 4), np.uint8))
    words = [str(tmp_path / word) if word.endswith(".png") else word for word in arguments]
    command = ["correct", str(run), str(scene), *words, "--cache", "none", "--show", str(tmp_path / "sheet.png")]
    assert main(command) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in line and not (tmp_path / "sheet.png").exists()


def test_the_change_can_be_seen_before_it_is_kept(run, scene, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(model_folder, "load", lambda folder: trained)
    painted(run, scene, tmp_path / "strokes.png")
    words = ["--frame", "5", "--mask", str(tmp_path / "strokes.png"), "--show", str(tmp_path / "sheet.png")]
    assert main(["correct", str(run), str(scene), *words, "--cache", "none"]) == 0
    assert "the mask of first-0 changes in" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.mode == "RGB"
