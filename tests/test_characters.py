"""A clip of two characters: alone in clips of their own, in files, by a point, removed, and drawn together."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_clip
from PIL import Image

from eqvid_tf.camera import stabilization
from eqvid_tf.camera.stabilization import stabilize
from eqvid_tf.data.clips import Clip, ClipError, open_clip, read_image
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.resampling import resize
from eqvid_tf.rendering.shots import ShotError, render_shots
from eqvid_tf.separation import solo
from eqvid_tf.separation.cast import Cast, CastEntry
from eqvid_tf.separation.characters import ClipCharacters, NoSuchCharacter, names_in
from eqvid_tf.separation.folder import write_layers
from eqvid_tf.separation.solo import track
from eqvid_tf.tracking.characters import Owners
from eqvid_tf.training.train import prepare

SIZE, COUNT = (48, 64), 16


def picture(seed: int, size: tuple[int, int], least: int, most: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(least, most, (4, 5, 3)).astype(np.float32)
    return resize(coarse, size).clip(0, 255).astype(np.uint8)


BACKGROUND = picture(0, SIZE, 90, 150)
RED, BLUE = picture(1, (14, 14), 190, 255), picture(2, (10, 12), 0, 50)  # RED is larger, and behind
RED_PATH = np.stack([np.linspace(4, 46, COUNT), np.full(COUNT, 16)], -1).round().astype(int)
BLUE_PATH = np.stack([np.linspace(48, 4, COUNT), np.full(COUNT, 20)], -1).round().astype(int)
MEETING = 7  # a frame in which BLUE hides a part of RED

FLAG = slice(34, 46), slice(50, 62)  # far from both ways
FLAG_MASK = np.zeros((*SIZE, 1), np.float32)
FLAG_MASK[FLAG] = 1


def film(*characters) -> np.ndarray:
    frames = np.repeat(BACKGROUND[None], COUNT, 0).copy()
    for cut_out, path in characters:
        for frame, (x, y) in zip(frames, path):
            frame[y : y + cut_out.shape[0], x : x + cut_out.shape[1]] = cut_out
    return frames


def centre(path: np.ndarray, cut_out: np.ndarray, index: int) -> list[float]:
    """The middle of a character in a frame, normalized."""
    x, y = path[index] + np.array(cut_out.shape[1::-1]) / 2
    return [float(2 * x / SIZE[1] - 1), float(2 * y / SIZE[0] - 1)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two", numbered=False) / "frames"
    for index, frame in enumerate(film((RED, RED_PATH), (BLUE, BLUE_PATH))):
        write_png(folder / f"{index:02d}.png", frame)
    return open_clip(folder, cache=folder.parent / "cache")


class Model:
    """Knows the background, and takes for the character what differs from it; knows the motion of neither."""

    config = SimpleNamespace(canvas=SIZE, mosaic=6.0)
    T, f = SimpleNamespace(learned=True), SimpleNamespace(takes_layer=False)

    def coverage(self, frames):
        return tf.cast(tf.reduce_max(abs(frames * 255 - BACKGROUND), -1, keepdims=True) > 8, tf.float32)

    def remembers(self, frames):
        return tf.ones(tf.shape(frames)[:1])

    def separate(self, frames):
        return frames, tf.constant(np.repeat(BACKGROUND[None] / np.float32(255), len(frames), 0)), self.coverage(frames)

    def encode(self, frames):
        return frames

    def motion_between(self, pair):
        count = tf.shape(pair["frame"])[:1]
        return tf.eye(2, 3, count), tf.zeros(count)


class WavingModel(Model):
    """The same, which knows that the flag is background."""

    def coverage(self, frames):
        return super().coverage(frames) * (1 - FLAG_MASK)


@pytest.fixture(scope="module")
def characters(clip):
    return ClipCharacters(Model(), clip)


def test_in_a_solo_clip_the_background_is_where_the_other_was(clip):
    tracked = track(stabilize(clip))
    red, blue = tracked.solos()
    assert tracked.owners.count == 2
    alone = np.stack(list(blue.native()))
    np.testing.assert_array_equal(alone, film((BLUE, BLUE_PATH)))
    np.testing.assert_array_equal(blue.arrays(SIZE), alone)
    np.testing.assert_array_equal(blue.at(MEETING), alone[MEETING])
    hidden = np.stack([red.hidden(index) for index in range(COUNT)])
    visible = np.stack(list(red.native()))[~hidden]
    np.testing.assert_array_equal(visible, film((RED, RED_PATH))[~hidden])
    np.testing.assert_array_equal(red.hidden_arrays(SIZE), hidden)


def test_frames_that_several_stages_look_at_are_decoded_once(clip, monkeypatch):
    monkeypatch.setattr(stabilization, "SMALL_SIDE", 24)
    solos, chosen, decoded = track(stabilize(open_clip(clip.path, cache=None))).solos(), [2, 5, MEETING], []
    native, resized = [np.stack(list(one.native())) for one in solos], Clip.resized
    monkeypatch.setattr(Clip, "resized", lambda self, *args: decoded.append(args) or resized(self, *args))
    for one, frames in zip(solos, native):
        np.testing.assert_array_equal(list(one.sampled(chosen)), frames[chosen])
        np.testing.assert_array_equal(list(one.sampled(chosen[1:])), frames[chosen[1:]])
        small = [cv2.resize(frame, (32, 24), interpolation=cv2.INTER_AREA) for frame in frames]
        assert np.abs(np.stack(list(one.smaller())) - np.float32(small)).mean() < 1.5
    assert len(decoded) == 2


def test_what_moves_is_remembered_with_the_frames(clip, tmp_path, monkeypatch):
    first = track(stabilize(open_clip(clip.path, cache=tmp_path)))
    monkeypatch.setattr(solo, "find_moving", None)
    again = track(stabilize(open_clip(clip.path, cache=tmp_path)))
    for name in ("moving", "background"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    np.testing.assert_array_equal(again.owners.owner, first.owners.owner)


def test_small_ones_are_told_apart_on_a_larger_canvas_even_where_one_darts(tmp_path):
    frames, owner = np.full((12, 224, 256, 3), 170, np.uint8), np.zeros((12, 224, 256), int)
    start, speed = np.array([[20, 30], [60, 160], [160, 90]]), np.array([[4, 1], [3, -2], [-3, 2]])
    for index, frame in enumerate(frames):
        for number, (x, y) in enumerate(start + speed * index, 1):
            x += 36 * (number == 2 and index > 5)  # by far more than its own length
            frame[y : y + 7, x : x + 12] = 40 + 20 * number
            owner[index, y : y + 7, x : x + 12] = number
    clip = stabilize(open_clip(write_clip(tmp_path / "clip", frames), cache=tmp_path / "cache"))
    apart = solo.tell_apart(clip)
    assert apart.canvas == (224, 256) and apart.owners.count == 3
    for number in range(1, 4):
        mine = owner == number
        share = [np.mean(mine[apart.owners.mask(k)]) for k in range(3)]
        assert max(share) > 0.8 and np.mean(apart.owners.mask(int(np.argmax(share)))[mine]) > 0.8
    assert [round(clip.size[0] * clip.size[1] * solo.track(clip).usual_area(k)) for k in range(3)] == [84] * 3
    with pytest.raises(ClipError, match=r"covers 0.15% of the frame, 1.9 pixels of the 40 x 32.*--image-size 96 or"):
        prepare([clip.filmed], (32, 40), print, characters="auto")


def test_each_has_files_of_its_own(characters, tmp_path):
    write_layers(characters, tmp_path)
    truth = film((RED, RED_PATH), (BLUE, BLUE_PATH))
    for number, (cut_out, path) in enumerate(((RED, RED_PATH), (BLUE, BLUE_PATH))):
        mask = read_image(tmp_path / f"characters/{number}/masks/00000.png")[..., 0]
        x, y = path[0]
        expected = np.zeros(SIZE, bool)
        expected[y : y + cut_out.shape[0], x : x + cut_out.shape[1]] = True
        assert ((mask > 127) == expected).mean() > 0.99
    together = read_image(tmp_path / "masks/00000.png")[..., 0] > 127
    assert (together == (np.abs(truth[0].astype(int) - BACKGROUND).max(-1) > 8)).mean() > 0.99
    listed = json.loads((tmp_path / "characters.json").read_text())
    assert [(one["number"], one["first"], one["last"]) for one in listed] == [(0, 0, COUNT - 1), (1, 0, COUNT - 1)]
    shown = json.loads((tmp_path / "characters/0/motion.json").read_text())["shown"]
    assert len(shown) == COUNT and shown[0] == 1 and shown[MEETING] < 0.8
    first = json.loads((tmp_path / "motion.json").read_text())
    assert first == json.loads((tmp_path / "characters/0/motion.json").read_text())


def test_what_several_claim_is_the_ones_it_is_near_and_specks_are_nobodys(clip, monkeypatch):
    found, index = ClipCharacters(Model(), clip), 0
    everything = np.ones((*SIZE, 4), np.float32)
    for layers in found.layers.values():
        monkeypatch.setattr(layers, "layer_as_filmed", lambda *_: everything.copy())
    cut_outs = found.cut_outs(index)
    for number, path, body in ((0, RED_PATH, RED), (1, BLUE_PATH, BLUE)):
        assert cut_outs[number][path[index, 1] + 2, path[index, 0] + 2, 3] == 1
        assert body[..., 0].size <= cut_outs[number][..., 3].sum() < 3 * body[..., 0].size
    limb = np.zeros_like(everything)
    limb[:8, :8] = 1
    specks = limb.copy()
    specks[-2:, -2:] = 1
    found.keep(0)
    monkeypatch.setattr(found.first, "layer_as_filmed", lambda *_: specks.copy())
    np.testing.assert_array_equal(found.cut_outs(2)[0], limb)


def test_a_point_names_the_character_that_it_shows_or_that_is_near(characters):
    assert characters.at_point(0, centre(RED_PATH, RED, 0)) == 0
    assert characters.at_point(0, centre(BLUE_PATH, BLUE, 0)) == 1
    assert characters.at_point(MEETING, centre(BLUE_PATH, BLUE, MEETING)) == 1  # it is in front
    with pytest.raises(NoSuchCharacter, match=r"frame 0 .* shows no character at \[0, -0.9\]; it shows 0 \(\d+ pixels"):
        characters.at_point(0, [0, -0.9])


NAMED = Cast(
    (
        CastEntry(clip="two", number=0, name="red", frames=COUNT),
        CastEntry(clip="two", number=1, name="blue", frames=COUNT),
    )
)


def test_a_scene_gives_the_motion_of_each_character(clip):
    scene = clip.path.parent
    for number in (0, 1):
        steps = np.tile([[1, 0, number / 10], [0, 1, 0]], (COUNT - 1, 1, 1))
        path = scene / "characters" / str(number) / "motion.json"
        path.parent.mkdir(parents=True)
        for file in (path, *([scene / "motion.json"] if not number else [])):
            file.write_text(json.dumps({"size": SIZE, "motion": steps.tolist()}))
    opened = open_clip(scene)
    assert opened.given_characters == [0, 1] and not clip.given_characters
    solos = track(stabilize(opened), 2).solos()
    assert [solo.motion()[0, 0, 2] for solo in solos] == [0, 0.1] and solos[1].has_motion
    shutil.rmtree(scene / "characters")
    (scene / "motion.json").unlink()


def test_a_name_is_as_good_as_a_number(clip, tmp_path):
    named = ClipCharacters(Model(), clip, cast=NAMED)
    assert named.names == {0: "red", 1: "blue"} and named.number("blue") == named.number("1") == 1
    with pytest.raises(NoSuchCharacter, match=r"two has no character green; it has 0 \(red\), 1 \(blue\)"):
        named.numbered("green")
    named.keep("blue")
    write_layers(named, tmp_path)
    (listed,) = json.loads((tmp_path / "characters.json").read_text())
    assert (listed["number"], listed["name"]) == (1, "blue")


def test_joined_characters_are_one_and_a_dropped_one_is_restless_background(clip):
    joined = ClipCharacters(Model(), clip, cast=NAMED.merge("red", "blue"))
    assert joined.names == {0: "red"}
    both = np.stack([layers[0][..., 3] > 0.5 for layers in joined.all_cut_outs()])
    moving = np.abs(film((RED, RED_PATH), (BLUE, BLUE_PATH)).astype(int) - BACKGROUND).max(-1) > 8
    assert (both == moving).mean() > 0.99
    alone = ClipCharacters(Model(), clip, cast=NAMED.drop("red"))
    assert alone.names == {1: "blue"}
    np.testing.assert_array_equal(alone.first.clip.at(0), film((BLUE, BLUE_PATH))[0])
    assert len(ClipCharacters(Model(), clip, cast=Cast(NAMED.characters[:1])).layers) == 1  # trained as one


def shoot(clip, tmp_path, model=None, options=None, **shot):
    place = clip.path.parent
    (place / "shots.json").write_text(json.dumps([{"name": "shot", **shot}]))
    render_shots(model or Model(), place / "shots.json", tmp_path, cache=place / "cache", **(options or {}))
    return read_image(tmp_path / "shot.png").astype(int)


def test_a_removed_one_is_gone_and_all_else_stays(clip, tmp_path):
    frame = f"frames/{MEETING:02d}.png"
    found = shoot(clip, tmp_path, frame=frame, remove=[centre(BLUE_PATH, BLUE, MEETING)])
    hidden = np.zeros(SIZE, bool)
    x, y = BLUE_PATH[MEETING]
    hidden[y - 1 : y + BLUE.shape[0] + 1, x - 1 : x + BLUE.shape[1] + 1] = True
    np.testing.assert_allclose(found[~hidden], film((RED, RED_PATH))[MEETING][~hidden], atol=2)
    only = film((BLUE, BLUE_PATH))[MEETING]
    both = shoot(clip, tmp_path, frame="frames/00.png", remove=[centre(RED_PATH, RED, 0), centre(BLUE_PATH, BLUE, 0)])
    np.testing.assert_allclose(both, BACKGROUND, atol=2)
    assert np.abs(found - only).max() > 50  # the other one stays


def test_two_in_one_picture_the_last_in_front(clip, tmp_path):
    still, frame = [[1, 0, 0], [0, 1, 0]], "frames/00.png"
    to_blue = 2 * (BLUE_PATH[0] - RED_PATH[0]) / np.array(SIZE[::-1])
    shifted = [[1, 0, to_blue[0]], [0, 1, to_blue[1]]]
    blue = {"character": frame, "point": centre(BLUE_PATH, BLUE, 0), "motion": still}
    red = {"character": frame, "point": centre(RED_PATH, RED, 0), "motion": shifted}
    x, y = BLUE_PATH[0]
    middle = slice(y + 2, y + 8), slice(x + 2, x + 10)
    front = shoot(clip, tmp_path, background=frame, layers=[blue, red])
    np.testing.assert_allclose(front[middle], RED[2:8, 2:10], atol=3)
    back = shoot(clip, tmp_path, background=frame, layers=[red, blue])
    np.testing.assert_allclose(back[middle], BLUE[2:8, 2:10], atol=3)


@pytest.mark.parametrize(
    ("shot", "problem"),
    [
        ({"frame": "frames/00.png", "remove": []}, "remove must be a list of points"),
        ({"frame": "frames/00.png", "remove": [[0, 2]]}, "remove must be a point"),
        ({"frame": "frames/00.png", "remove": [[0, 0]], "motion": 1}, "unknown key 'motion'"),
        ({"background": "frames/00.png", "layers": [{"character": "frames/00.png"}]}, "layer 0: give either motion"),
        ({"frame": "frames/00.png", "remove": [[0, -0.9]]}, "shows no character at"),
    ],
)
def test_a_wrong_shot_is_one_line(clip, tmp_path, shot, problem):
    with pytest.raises(ShotError, match=problem) as error:
        shoot(clip, tmp_path, **shot)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def waving(tmp_path_factory):
    """The same two before a flag that flickers: restless background."""
    folder = tmp_path_factory.mktemp("waving") / "frames"
    for index, frame in enumerate(film((RED, RED_PATH), (BLUE, BLUE_PATH))):
        frame[FLAG] = (frame[FLAG].astype(int) + (30 if index % 3 == 0 else 0)).clip(0, 255)
        write_png(folder / f"{index:02d}.png", frame)
    return open_clip(folder, cache=folder.parent / "cache")


def test_plates_are_the_frames_without_characters_and_keep_what_is_restless(waving, tmp_path):
    characters = ClipCharacters(WavingModel(), waving)
    write_layers(characters, tmp_path, plates=True)
    camera = json.loads((tmp_path / "camera.json").read_text())
    assert camera["size"] == list(SIZE)
    np.testing.assert_array_equal(camera["motion"], np.tile(np.eye(2, 3), (COUNT - 1, 1, 1)))
    for index in range(COUNT):
        plate = read_image(tmp_path / f"plates/{index:05d}.png")
        expected = BACKGROUND.astype(int)
        expected[FLAG] += 30 if index % 3 == 0 else 0
        np.testing.assert_allclose(plate, expected, atol=4)
        np.testing.assert_array_equal(plate[FLAG], waving.at(index)[FLAG])


def test_renders_onto_a_frame_keep_what_is_restless_in_it(waving, tmp_path):
    still = [[1, 0, 0], [0, 1, 0]]
    layer = {"character": "frames/01.png", "point": centre(RED_PATH, RED, 1), "motion": still}
    for shot in (layer, {"layers": [layer]}):
        found = shoot(waving, tmp_path, WavingModel(), background="frames/03.png", **shot)
        np.testing.assert_array_equal(found[FLAG], waving.at(3)[FLAG])
        x, y = BLUE_PATH[3]
        np.testing.assert_allclose(found[y : y + 10, x : x + 12], BACKGROUND[y : y + 10, x : x + 12], atol=2)


def test_what_was_never_seen_is_reported(characters, tmp_path):
    write_layers(characters, tmp_path)
    unseen = json.loads((tmp_path / "background.json").read_text())["unseen"]
    assert unseen == {"pixels": 0, "share": 0.0}
    assert not read_image(tmp_path / "unseen.png").any()


@pytest.fixture(scope="module")
def sunny(tmp_path_factory):
    """RED alone, with a soft shadow."""
    folder = tmp_path_factory.mktemp("sunny") / "frames"
    for index, frame in enumerate(film((RED, RED_PATH))):
        x, y = RED_PATH[index]
        cast = np.zeros(SIZE, np.float32)
        cast[y + 14 : y + 22, x : x + 18] = 0.4
        dark = cv2.GaussianBlur(cast, (0, 0), 2)[..., None]
        shaded = np.where((frame == BACKGROUND).all(-1, keepdims=True), frame * (1 - dark), frame)
        write_png(folder / f"{index:02d}.png", shaded.round().astype(np.uint8))
    return open_clip(folder, cache=folder.parent / "cache")


ALONE = Cast((CastEntry(clip="sunny", number=0, name="red", frames=COUNT),))


def test_a_shadow_has_a_layer_of_its_own_and_goes_with_its_character(sunny, tmp_path):
    write_layers(ClipCharacters(Model(), sunny, cast=ALONE), tmp_path, plates=True)
    x, y = RED_PATH[3]
    under = slice(y + 16, y + 20), slice(x + 4, x + 14)
    assert read_image(tmp_path / "characters/0/masks/00003.png")[under].max() == 0
    with Image.open(tmp_path / "characters/0/shadow/00003.png") as picture:
        shadow = np.asarray(picture)
    assert shadow.shape == (*SIZE, 4) and shadow[..., :3].max() == 0
    seen, alpha = sunny.at(3).astype(float), shadow[..., 3:] / 255
    np.testing.assert_allclose(((1 - alpha) * BACKGROUND)[under], seen[under], atol=6)
    left = np.abs(read_image(tmp_path / "plates/00003.png").astype(int) - BACKGROUND).max(-1)
    assert np.mean(left > 9) < 0.002  # a few pixels between mask and shadow


def test_a_shot_draws_the_shadow_where_that_is_asked_for(sunny, tmp_path):
    shot = {"character": "frames/03.png", "background": "frames/14.png", "motion": [[1, 0, 0], [0, 1, 0]]}
    x, y = RED_PATH[3]
    under = slice(y + 16, y + 20), slice(x + 4, x + 14)
    for shadow, expected in ((False, BACKGROUND), (True, sunny.at(3))):
        found = shoot(sunny, tmp_path, options={"shadow": shadow, "cast": ALONE}, **shot)
        np.testing.assert_allclose(found[under], expected[under], atol=6)


def test_restless_background_is_in_no_mask_and_stays_in_the_plate(tmp_path):
    frames = film((RED, RED_PATH))
    flickers = np.arange(0, COUNT, 3)
    frames[flickers, 36:46, 4:16] = np.random.default_rng(3).integers(160, 255, (len(flickers), 10, 12, 3))
    for index, frame in enumerate(frames):
        write_png(tmp_path / "frames" / f"{index:02d}.png", frame)
    characters = ClipCharacters(Model(), open_clip(tmp_path / "frames", cache=None))
    assert list(characters.layers) == [0]
    for index in flickers:
        alpha, (x, y) = characters.cut_outs(index)[0][..., 3], RED_PATH[index]
        mask = np.zeros(SIZE, bool)
        mask[y : y + 14, x : x + 14] = True
        np.testing.assert_array_equal(alpha > 0.5, mask)
        alone = characters.layers[0].filmed.at(index)  # what the character is cut out of
        assert (alone == BACKGROUND).all(-1)[36:46, 4:16].mean() > 0.98  # but where it flickers faintly


def test_a_clip_of_one_without_restless_background_is_taken_as_it_is(tmp_path):
    for index, frame in enumerate(film((RED, RED_PATH))):
        write_png(tmp_path / "frames" / f"{index:02d}.png", frame)
    stable = stabilize(open_clip(tmp_path / "frames", cache=None))
    assert track(stable).solos() == [stable]


class NamingModel(Model):
    """The same, with two names, of which it knows little: each has a part in all that it sees."""

    identity = True
    config = SimpleNamespace(**vars(Model.config), name_of=(0, 1))

    def __init__(self, red_parts: tuple[float, float]):
        self.red_parts = red_parts

    def present(self, frames):
        return np.ones((len(frames), 2))

    def coverage(self, frames, name=None):
        red = tf.cast(frames[..., :1] > 0.7, tf.float32)
        part = 1 if name is None else self.red_parts[name] * red + (1 - self.red_parts[name]) * (1 - red)
        return super().coverage(frames) * part

    def render(self, character_frame, background_frame, motion):
        return character_frame


@pytest.mark.parametrize(("red_parts", "red"), [((0.45, 0.55), 1), ((0.55, 0.45), 0)])
def test_the_networks_alone_follow_who_is_who(clip, red_parts, red):
    """Twins are told from frame to frame; numbers are those of the names that fit best."""
    characters = ClipCharacters(NamingModel(red_parts), clip, network_only=True)
    (x, y), (x2, y2) = RED_PATH[MEETING], BLUE_PATH[MEETING]
    true = {number: np.zeros(SIZE, bool) for number in (0, 1)}
    true[red][y : y + RED.shape[0], x : x + RED.shape[1]] = True
    true[1 - red][y2 : y2 + BLUE.shape[0], x2 : x2 + BLUE.shape[1]] = True
    true[red] &= ~true[1 - red]
    for number, mask in true.items():
        found = characters.layers[number].coverage[MEETING] > 0.5
        assert (found & mask).sum() / (found | mask).sum() > 0.85


def test_a_body_that_no_name_has_a_share_in_is_nobodys():
    owners = Owners(owner=np.uint8([[[1, 1, 2, 3]]]), count=3, motions=np.zeros((3, 0, 2, 3)))
    shares = {0: np.float32([[[0.9, 0.9, 0.4, 0]]]), 2: np.float32([[[0.1, 0.1, 0.3, 0.1]]])}
    found = solo._as_named(owners, shares)
    assert found.owner.tolist() == [[[1, 1, 3, 0]]] and len(found.motions) == 3
    with_part = solo._as_named(owners, {0: np.float32([[[0.9, 0.9, 0.6, 0.8]]])})
    assert with_part.owner.tolist() == [[[1, 1, 1, 1]]]


def test_the_networks_alone_go_by_the_names_where_fewer_are_followed(tmp_path):
    for index, frame in enumerate(film((RED, RED_PATH))):
        write_png(tmp_path / "frames" / f"{index:02d}.png", frame)
    model = NamingModel((0.9, 0.1))
    characters = ClipCharacters(model, open_clip(tmp_path / "frames", cache=None), network_only=True)
    assert {number: layers.name for number, layers in characters.layers.items()} == {0: 0, 1: 1}


@pytest.mark.parametrize(
    ("name_of", "numbers"),
    [((0, 1, 2), {0: 0, 1: 1}), ((0, 0, 1), {0: 0}), ((-1, 0, 1), {1: 0}), ((3, 1, 0), {0: 3, 1: 1})],
)
def test_the_networks_alone_know_the_characters_by_the_background(name_of, numbers):
    """Of two clips, of two characters and one, the first: number in the clip -> number of the name."""
    present = lambda x: np.tile([0.9, 0.9, 0.1], (len(x), 1))
    model = SimpleNamespace(config=SimpleNamespace(name_of=name_of), present=present)
    assert names_in(model, np.zeros((4, 8, 8, 3), np.uint8)) == numbers
