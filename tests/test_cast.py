"""The names of a model's characters: what each edit makes of them, and what is refused in one line."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from eqvid_tf.cli import main
from eqvid_tf.config import Config
from eqvid_tf.separation.cast import Cast, CastEntry, CastError, default_name
from eqvid_tf.synthetic.scenes import draw_scene
from eqvid_tf.training.material import TrainingClips, write_cast


def entry(clip, number, **more):
    place = {"first": 2, "last": 9, "box": (0, 1, 20, 30), "share": 0.25}
    return CastEntry(clip=clip, number=number, name=default_name(clip, number), frames=12, **place, **more)


ONE = Cast(tuple(entry("yard", number) for number in range(4)))
TWO = Cast((entry("yard", 0), entry("yard", 1), entry("walk", 0)))


def state(cast):
    """What each is: its name, the number that it is joined to, or dropped."""
    what = lambda e: "dropped" if e.dropped else e.name if e.active else e.merged_into
    return {f"{e.clip}:{e.number}": what(e) for e in cast.characters}


def test_names_are_clip_and_number_until_one_is_given():
    assert ONE.names() == ["yard-0", "yard-1", "yard-2", "yard-3"]
    named = ONE.rename("0", "dancer").rename("yard-3", "dog").rename("dog", "cat")
    assert named.names() == ["dancer", "yard-1", "yard-2", "cat"]
    assert TWO.rename("walk:0", "dancer").rename("1", "dog").names() == ["yard-0", "dog", "dancer"]


def test_a_merge_within_a_clip_joins_pixels_and_leaves_a_gap():
    joined = ONE.rename("0", "dancer").merge("2", "dancer")
    assert state(joined) == {"yard:0": "dancer", "yard:1": "yard-1", "yard:2": 0, "yard:3": "yard-3"}
    chain = ONE.merge("2", "3").merge("1", "2")  # what was joined to 2 goes with it
    assert state(chain) == {"yard:0": "yard-0", "yard:1": "yard-1", "yard:2": 1, "yard:3": 1}
    assert state(joined.split("2")) == state(ONE.rename("0", "dancer")) == state(joined.split("dancer"))


def test_a_merge_over_clips_gives_one_name():
    joined = TWO.merge("walk:0", "yard:1")
    assert joined.names() == ["yard-0", "walk-0"]
    assert state(TWO.rename("yard:1", "a").rename("walk:0", "a")) == {"yard:0": "yard-0", "yard:1": "a", "walk:0": "a"}
    assert joined.rename("walk-0", "dancer").names() == ["yard-0", "dancer"]  # of both
    assert state(joined.split("yard:1")) == state(TWO) == state(joined.split("walk-0"))
    assert state(TWO.merge("yard:0", "yard:1", "walk:0")) == {"yard:0": "yard-0", "yard:1": 0, "walk:0": "yard-0"}


def test_a_dropped_one_comes_back():
    dropped = ONE.drop("1")
    assert dropped.names() == ["yard-0", "yard-2", "yard-3"] and state(dropped)["yard:1"] == "dropped"
    assert dropped.split("yard-1") == ONE
    taken = dropped.rename("2", "yard-1").rename("2", "dog").drop("0")
    assert taken.names() == ["dog", "yard-3"]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda: ONE.drop("7"), r"there is no character 7; there are yard:0 \(yard-0\), .*yard:3"),
        (lambda: ONE.rename("cat", "dog"), "there is no character cat"),
        (lambda: TWO.drop("0"), r"0 is a character of several clips; give CLIP:NUMBER or a name: yard:0 .*walk:0"),
        (lambda: ONE.merge("1"), "a merge joins two characters or more; received 1"),
        (lambda: ONE.merge("1", "yard-1"), "a merge joins two"),
        (lambda: ONE.merge("0", "1").merge("0", "1"), r"yard:1 \(yard-1\) is joined to yard:0; --split"),
        (lambda: ONE.drop("1").merge("0", "1"), r"yard:1 \(yard-1\) is dropped; --split yard:1 takes it back"),
        (lambda: TWO.drop("walk:0"), "without walk:0 there is no character left in walk"),
        (lambda: ONE.rename("0", "yard-1"), "yard has two characters named yard-1 then"),
        (lambda: ONE.split("0"), "0 is not joined to another character, nor dropped"),
        (lambda: ONE.rename("0", "3"), "a name must be a text without"),
        (lambda: ONE.rename("0", "a,b"), "a name must be a text without"),
    ],
)
def test_what_cannot_be_done_is_one_line(edit, problem):
    with pytest.raises(CastError, match=problem) as error:
        edit()
    assert "\n" not in str(error.value)


def test_a_clip_learned_again_keeps_its_names():
    named = ONE.rename("0", "dancer")
    assert named.with_entries([entry("yard", 0), entry("walk", 0)]).names() == [*named.names(), "walk-0"]
    assert named.of_clip("yard", 12) == named.characters and named.of_clip("yard", 8) == ()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(Config().to_json())
    ONE.write(tmp_path)
    return tmp_path


def test_the_command_edits_in_order_and_shows(folder, capsys):
    words = ["cast", str(folder), "--name", "0=dancer", "--merge", "dancer,2", "--drop", "3", "--show"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "dancer, yard-1" in out and "joined to 0" in out and "dropped" in out and "2 to 9" in out and "25.0%" in out
    found = json.loads((folder / "cast.json").read_text())
    assert found["format"] == 1 and [e.get("merged_into") for e in found["characters"]] == [None, None, 0, None]
    assert set(found["characters"][0]) == {"clip", "number", "name", "frames", "first", "last", "box", "share"}
    assert Cast.read(folder) == ONE.rename("0", "dancer").merge("0", "2").drop("3")


@pytest.mark.parametrize("words", [["--drop", "9"], ["--name", "dancer"], ["--merge", "0,1", "--merge", "0"]])
def test_the_command_refuses_in_one_line_and_changes_nothing(folder, capsys, words):
    before = (folder / "cast.json").read_bytes()
    try:
        code = main(["cast", str(folder), *words])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and capsys.readouterr().err.count("\n") == 1
    assert (folder / "cast.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2, "characters": []}', '{"format": 1, "characters": [{}]}'])
def test_a_damaged_cast_is_one_line(folder, capsys, text):
    (folder / "cast.json").write_text(text)
    assert main(["cast", str(folder)]) == 2
    err = capsys.readouterr().err
    assert "cast.json" in err and err.count("\n") == 1


def test_a_folder_of_before_has_no_cast(folder, capsys):
    (folder / "cast.json").unlink()
    assert main(["cast", str(folder)]) == 2 and "has no cast.json" in capsys.readouterr().err


def test_each_place_in_memory_has_the_number_of_a_name():
    assert ONE.name_numbers() == (0, 1, 2, 3)
    assert ONE.merge("1", "3").drop("0").name_numbers() == (-1, 0, 1, 0)
    assert TWO.merge("walk:0", "yard:1").name_numbers() == (0, 1, 1)


def test_who_is_in_two_parts_of_a_film_has_one_name(tmp_path):
    """One character before two backgrounds, another beside it in the second part, and the first in another film."""
    red, blue, place, other = (draw_scene(seed, size=(32, 48), frames=8) for seed in (1, 2, 3, 4))
    pictures = lambda scene, behind: np.stack([_before(scene, behind.background, k) for k in range(8)])
    frames = [pictures(*pair) for pair in ((red, place), (blue, other), (red, other), (red, place))]
    films = ("film", 0, 12), ("film", 12, 24), ("film", 12, 24), ("another", 0, 12)
    clips = [
        SimpleNamespace(path=name, name=f"{name}@{a}-{b}", number=0, count=8, size=(32, 48)) for name, a, b in films
    ]
    clips[2].number = 1
    for clip, shown in zip(clips, frames):
        clip.at = shown.__getitem__
    hints = [scene.masks / np.float32(255) for scene in (red, blue, red, red)]
    write_cast(TrainingClips(clips=clips, frames=frames, hints=hints), tmp_path, None)
    names = [(one.clip, one.name) for one in Cast.read(tmp_path).characters]
    first, second, third = "film@0-12", "film@12-24", "another@0-12"
    assert names == [(first, f"{first}-0"), (second, f"{second}-0"), (second, f"{first}-0"), (third, f"{third}-0")]


def _before(scene, background, index):
    picture, mask = scene.picture(index)
    behind = 1 - mask[..., None] / 255
    return (picture + behind * (background - scene.background)).clip(0, 255).astype(np.uint8)
