"""Pairs: what belongs together, every direction and gap, the same batches for the same seed, bounded memory."""

import ctypes
import gc
import itertools
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.data.clips import ClipError, open_clip
from eqvid_tf.data.pairs import _on_cpu, held_out, pairs
from eqvid_tf.data.writers import write_png
from eqvid_tf.pixels.canvas import canvas_from_clip

CANVAS = (8, 16)


class Numbered:
    """A clip whose frame k of clip c is the colour (c, k, 255 - k): a batch tells where it comes from."""

    def __init__(self, name: int, count: int, size=(8, 16)):
        self.name, self.count, self.size = name, count, size

    def arrays(self, canvas):
        frames = np.zeros((self.count, *canvas, 3), np.uint8)
        frames[..., 0], index = self.name, np.arange(self.count, dtype=np.uint8)[:, None, None]
        frames[..., 1], frames[..., 2] = index, 255 - index
        return frames

    def motion(self, number=0):
        """Step k moves right by (k + 1) / 1000, grows by 1 % and turns a little; of character N by N / 10 more."""
        turn, steps = 0.01, np.zeros((self.count - 1, 2, 3))
        steps[:, :, :2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * 1.01
        steps[:, 0, 2] = np.arange(1, self.count) / 1000 + number / 10
        return steps


CLIPS = [Numbered(0, 3), Numbered(1, 40), Numbered(2, 100)]


def batches(count, clips=CLIPS, canvas=CANVAS, **options):
    dataset = pairs(clips, canvas, **{"batch_size": 16, **options})
    return [{name: array.numpy() for name, array in batch.items()} for batch in dataset.take(count)]


def origin(frames) -> tuple[np.ndarray, np.ndarray]:
    """Clip and index of each frame of a batch."""
    assert (frames == frames[:, :1, :1]).all()
    colour = np.rint(frames[:, 0, 0] * 255).astype(int)
    np.testing.assert_array_equal(colour[:, 1] + colour[:, 2], 255)
    return colour[:, 0], colour[:, 1]


def assert_same(left, right):
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_names_shapes_and_range():
    hints = [np.ones((clip.count, *CANVAS), np.float32) for clip in CLIPS]
    dataset = pairs(CLIPS, CANVAS, batch_size=4, known=True, hints=hints)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    shapes = {name: (tuple(spec.shape), spec.dtype) for name, spec in dataset.element_spec.items()}
    frame, hint = ((4, 8, 16, 3), tf.float32), ((4, 8, 16, 1), tf.float32)
    assert shapes == {
        "frame": frame,
        "next_frame": frame,
        "background_frame": frame,
        "hint": hint,
        "next_hint": hint,
        "motion": ((4, 2, 3), tf.float32),
    }
    batch = next(iter(dataset))
    assert float(tf.reduce_max(batch["frame"])) <= 1 and float(tf.reduce_min(batch["hint"])) == 1
    assert batches(1, other=False)[0].keys() == {"frame", "next_frame"}


def test_the_same_seed_gives_the_same_batches_from_any_start():
    whole = batches(12, seed=5, known=True)
    assert_same(whole, batches(12, seed=5, known=True))
    assert_same(whole[7:], batches(5, seed=5, start=7, known=True))
    assert any((a["frame"] != b["frame"]).any() for a, b in zip(whole, batches(12, seed=6)))
    assert any((a["frame"] != b["frame"]).any() for a, b in itertools.pairwise(whole))


def test_devices_are_dealt_the_rows_of_a_batch_in_turn():
    """The second of three devices alone, and the first and the last, whose batches come in turn."""
    settings = {"batch_size": 12, "seed": 4, "start": 5}
    whole = batches(2, **settings)
    second = batches(2, **settings, replicas=3, own=[1])
    others = batches(4, **settings, replicas=3, own=[0, 2])
    for k, name in itertools.product(range(2), ("frame", "next_frame", "background_frame")):
        for device, dealt in ((1, second[k]), (0, others[2 * k]), (2, others[2 * k + 1])):
            np.testing.assert_array_equal(dealt[name], whole[k][name][device::3])


def test_pairs_are_of_one_clip_with_every_gap_and_direction():
    seen, counts = {clip.name: [] for clip in CLIPS}, {clip.name: clip.count for clip in CLIPS}
    for batch in batches(150):
        (clip, first), (same, second), (other, third) = (
            origin(batch[k]) for k in ("frame", "next_frame", "background_frame")
        )
        np.testing.assert_array_equal([clip, clip], [same, other])
        assert (third != first).all()
        for c, step in zip(clip, second - first):
            seen[c].append(int(step))
        assert all(max(f, s, t) < counts[c] for c, f, s, t in zip(clip, first, second, third))
    assert set(seen[0]) == {-2, -1, 1, 2}  # three frames leave no room for 4 and 8
    assert set(seen[1]) == set(seen[2]) == {-8, -4, -2, -1, 1, 2, 4, 8}
    assert abs(np.mean(np.sign(seen[2]))) < 0.1
    share = np.array([len(seen[c]) for c in range(3)]) / 2400
    np.testing.assert_allclose(share, 1 / 6 + 0.5 * np.array([3, 40, 100]) / 143, atol=0.04)


@pytest.mark.parametrize(("count", "gaps", "frames"), [(4, (8, 16), {(0, 3), (3, 0)}), (2, (1,), {(0, 1), (1, 0)})])
def test_gaps_longer_than_a_clip(count, gaps, frames):
    (batch,) = batches(1, [Numbered(0, count)], batch_size=64, gaps=gaps)
    first, second, other = (origin(batch[name])[1] for name in ("frame", "next_frame", "background_frame"))
    assert set(zip(first.tolist(), second.tolist())) == frames and (other != first).all()


def test_frames_that_are_held_out_are_in_no_pair_and_change_nothing_else():
    out = [held_out(clip.count, 10) for clip in CLIPS]
    assert [len(frames) for frames in out] == [0, 4, 10]
    for batch in batches(40, left_out=out):
        for name in ("frame", "next_frame", "background_frame"):
            clip, index = origin(batch[name])
            assert not any(k in out[c] for c, k in zip(clip, index))
    assert_same(batches(3), batches(3, left_out=[np.zeros(0, int)] * 3))


def test_no_batch_waits_for_python():
    """A prefetch thread that calls Python can hang the process at exit."""
    hints = [np.zeros((clip.count, *CANVAS), np.float32) for clip in CLIPS]
    dataset = pairs(CLIPS, CANVAS, batch_size=4, known=True, hints=hints)
    graph = tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(dataset)).numpy()
    assert b"StatelessRandomUniform" in graph and b"PyFunc" not in graph


def test_a_cached_clip_stays_on_disk(scene):
    for cache in (None, scene / "cache"):
        array = open_clip(scene, cache=cache).arrays(CANVAS)
        tensor = _on_cpu(array)
        assert np.shares_memory(array, np.asarray(memoryview(tensor))) and not array.flags.writeable
        np.testing.assert_array_equal(tensor, array)
        del array
        np.testing.assert_array_equal(tensor[:, 0, 0, 0], 10 * np.arange(6))


def test_known_motion_is_the_product_of_steps_on_the_canvas():
    clips = [Numbered(0, 12), Numbered(1, 30, (20, 20)), Numbered(2, 20, (30, 10))]
    for batch in batches(12, clips, known=True):
        clip, first = origin(batch["frame"])
        _, second = origin(batch["next_frame"])
        for k, motion in enumerate(batch["motion"]):
            canvas_from_frame, product = canvas_from_clip(clips[clip[k]].size, CANVAS), np.eye(3)
            for step in clips[clip[k]].motion()[min(first[k], second[k]) : max(first[k], second[k])]:
                product = np.vstack([step, [0, 0, 1]]) @ product
            product = np.linalg.inv(product) if second[k] < first[k] else product
            point = np.array([0.3, -0.2, 1])  # in the clip, then on the canvas
            moved = canvas_from_frame @ product @ point
            np.testing.assert_allclose(motion @ (canvas_from_frame @ point), moved[:2], atol=1e-6)


def test_hints_go_with_their_frames():
    hints = [np.float32(clip.arrays(CANVAS)[..., 1]) / np.float32(255) for clip in CLIPS]
    for batch in batches(4, hints=hints):
        for frame, hint in (("frame", "hint"), ("next_frame", "next_hint")):
            np.testing.assert_array_equal(batch[hint][..., 0], batch[frame][..., 1])


def test_characters_come_in_random_order_with_their_hints_and_motions():
    places = [[0], [1, 2], [3]]
    shapes = [(clip.count, *CANVAS, len(row)) for clip, row in zip(CLIPS, places)]
    hints = [np.broadcast_to(np.float32(row) / 5 + 0.2, shape) for row, shape in zip(places, shapes)]
    first = []
    for batch in batches(6, hints=hints, places=places, known=True):
        clip, index = origin(batch["frame"])
        assert batch["hint"].shape == (16, *CANVAS, 2) and batch["motion"].shape == (16, 2, 2, 3)
        for k, row in enumerate(batch["places"].tolist()):
            assert sorted(place for place in row if place >= 0) == places[clip[k]] and row[0] >= 0
            wanted = [place / 5 + 0.2 if place >= 0 else 0 for place in row]  # whole steps of 1/255
            np.testing.assert_allclose(batch["hint"][k, 0, 0], wanted, atol=1e-6)
            still = np.eye(2, 3)
            assert all(np.allclose(motion, still) == (place < 0) for motion, place in zip(batch["motion"][k], row))
            if clip[k] == 1:
                first.append(row[0])
                slower, faster = batch["motion"][k][np.argsort(row)]
                assert abs(faster[0, 2]) > abs(slower[0, 2])
    assert set(first) == {1, 2}


def test_the_value_is_the_byte_over_255():
    clip = Numbered(0, 2)
    clip.arrays = lambda canvas: np.arange(256, dtype=np.uint8).reshape(1, 8, 32, 1).repeat(2, 0).repeat(3, -1)
    (batch,) = batches(1, [clip], (8, 32), batch_size=1)
    for name in ("frame", "next_frame", "background_frame"):
        np.testing.assert_array_equal(batch[name], np.float32(clip.arrays(None)[:1]) / np.float32(255))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="received 0 clips"):
        pairs([], CANVAS, batch_size=4)
    with pytest.raises(ValueError, match=r"gaps \(0, 1\)"):
        pairs(CLIPS, CANVAS, batch_size=4, gaps=(0, 1))
    with pytest.raises(ValueError, match="Give one for each clip"):
        pairs(CLIPS, CANVAS, batch_size=4, hints=[np.zeros((3, *CANVAS), np.float32)])
    with pytest.raises(ValueError, match=r"hints must be float32 in \[0, 1\]; received uint8"):
        pairs(CLIPS, CANVAS, batch_size=4, hints=[np.zeros((clip.count, *CANVAS), np.uint8) for clip in CLIPS])


@pytest.fixture
def scene(tmp_path):
    for k in range(6):
        write_png(tmp_path / "scene" / "frames" / f"{k:05d}.png", np.full((8, 16, 3), 10 * k, np.uint8))
    return tmp_path / "scene"


def known(scene, **motion):
    (scene / "motion.json").write_text(json.dumps(motion))
    return open_clip(scene, cache=None)


def test_a_scenes_motion(scene):
    steps = Numbered(0, 6).motion()
    clip = known(scene, size=[8, 16], motion=steps.tolist(), fps=12)
    assert (clip.name, clip.fps) == ("scene", 12)
    assert clip.motion().dtype == np.float64
    np.testing.assert_array_equal(clip.motion(), steps)
    for path in (scene, scene / "frames"):
        cut = open_clip(path, cache=None, frames=(2, 5))
        assert cut.name == "scene"
        np.testing.assert_array_equal(cut.motion(), steps[2:4])


IDENTITY = [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("motion", "match"),
    [
        ([IDENTITY] * 4, r"motion must be \[5, 2, 3\].*received \[4, 2, 3\]"),
        ([[[1, 0], [0, 1]]] * 5, r"received \[5, 2, 2\]"),
        ([IDENTITY] * 4 + [[[1, 0, 0]]], "none that can be read"),
        (None, "none that can be read"),
        ("fast", "none that can be read"),
        ([IDENTITY] * 4 + [[[1, 0, float("nan")], [0, 1, 0]]], "step 4 is not finite"),
        ([IDENTITY] * 2 + [[[1, 2, 0], [2, 4, 0]]] + [IDENTITY] * 2, "step 2 is not finite or cannot be inverted"),
    ],
)
def test_motion_that_does_not_fit(scene, motion, match):
    with pytest.raises(ClipError, match=match) as caught:
        known(scene, motion=motion).motion()
    assert "\n" not in str(caught.value) and "motion.json" in str(caught.value)


def test_motion_files_that_cannot_be_read(scene):
    with pytest.raises(ClipError, match="`known` needs"):
        open_clip(scene, cache=None).motion()
    with pytest.raises(ClipError, match="fps must be a positive number"):
        known(scene, motion=[IDENTITY] * 5, fps=-3)
    for text in ("{", "[1, 2]"):
        (scene / "motion.json").write_text(text)
        with pytest.raises(ClipError, match=r"motion\.json: "):
            open_clip(scene, cache=None).motion()


def write_long(path, count=2_500):
    """A video of the same fifty pictures, over and over."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuvj420p"
        noise = np.random.default_rng(0).integers(0, 256, (50, 24, 32, 3)).astype(np.uint8)
        packets = []
        for picture in noise.repeat(4, axis=1).repeat(4, axis=2):
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets = [bytes(packet) for packet in packets + stream.encode()]
        for k in range(count):
            packet = av.Packet(packets[k % len(packets)])
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = k
            file.mux(packet)
    return path


def peak_growth(work) -> float:
    """MiB by which the process grows at most while it does `work`."""
    peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free goes back, so that all that is taken counts
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from now
    before = peak()
    work()
    return peak() - before


def test_memory_of_a_long_clip(tmp_path):
    """88 MiB of frames: neither decoding nor drawing pairs ever holds them all."""
    clip = open_clip(write_long(tmp_path / "long.avi"), cache=tmp_path)
    assert clip.count == 2_500 and 2_500 * 96 * 128 * 3 >> 20 == 87
    draw = lambda clip, canvas: [batch["frame"].shape for batch in pairs([clip], canvas, batch_size=4).take(20)]
    draw(CLIPS[2], CANVAS)  # what TensorFlow needs in any case
    decoding = peak_growth(lambda: clip.arrays((96, 128)))
    assert decoding < 25, f"decoding took {decoding:.0f} MiB"
    drawing = peak_growth(lambda: draw(clip, (96, 128)))
    assert drawing < 80, f"drawing pairs took {drawing:.0f} MiB, pages of the file among them"
    assert peak_growth(lambda: np.array(clip.arrays((96, 128)))) > 80  # to hold them all is noticed
