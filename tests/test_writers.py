"""Written images and videos read back as what they were, and are there whole or not at all."""

import weakref

import av
import numpy as np
import pytest
from PIL import Image

from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import to_uint8, write_png, write_video
from eqvid_tf.pixels.bleeding import bleed


def frames(count=12, size=(40, 56)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]] / 56
    base = np.stack([x, y, 1 - x / 2], axis=-1)
    return np.stack([to_uint8(np.roll(base, 2 * k, axis=1)) for k in range(count)])


@pytest.mark.parametrize(
    ("suffix", "atol"),
    [(".mp4", 3), (".mkv", 3), (".mov", 3), (".webm", 3), (".gif", 5), (".webp", 3), (".apng", 0), (".png", 0)],
)
def test_round_trip(tmp_path, suffix, atol):
    path, written = tmp_path / "new" / f"walk{suffix}", frames()
    write_video(path, iter(written), 30000 / 1001)
    clip = open_clip(path, cache=None)
    assert (clip.count, clip.size) == (12, (40, 56))
    assert clip.fps == pytest.approx(29.97, rel=0.01)
    assert np.abs(np.stack(list(clip)).astype(int) - written).mean() <= atol
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".webp", ".apng"])
def test_transparency(tmp_path, suffix):
    alpha = np.linspace(0, 255, 40 * 56).astype(np.uint8).reshape(1, 40, 56, 1).repeat(3, axis=0)
    written = np.concatenate([frames(3), alpha], axis=-1)
    write_video(tmp_path / f"a{suffix}", written, 10)
    with Image.open(tmp_path / f"a{suffix}") as image:
        read = []
        for k in range(image.n_frames):
            image.seek(k)
            read.append(np.asarray(image.convert("RGBA")))
    np.testing.assert_array_equal(np.stack(read)[..., 3:], alpha)
    opaque = alpha[..., 0] > 128
    assert np.abs(np.stack(read).astype(int) - written)[opaque].mean() < 3
    clip = open_clip(tmp_path / f"a{suffix}", cache=None)
    assert np.abs(clip.at(1) - written[1, ..., :3] * (alpha[1] / 255.0)).mean() < 3  # lies on black


def discs(count=6, size=(41, 57)) -> np.ndarray:
    """A soft yellow disc that moves to the right, on black under alpha 0: straight RGBA."""
    y, x = np.mgrid[: size[0], : size[1]]
    alpha = np.stack([np.clip((12 - np.hypot(x - 24 - k, y - 20)) / 4 + 0.5, 0, 1) for k in range(count)])[..., None]
    return to_uint8(np.concatenate([np.array([0.9, 0.8, 0.2]) * (alpha > 0), alpha], -1))


def decoded(path, codec=None) -> tuple[str, np.ndarray]:
    """The pixel format of a video, and its frames in straight RGBA; FFmpeg's own decoder of VP9 leaves alpha out."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create(codec, "r") if codec else stream.codec_context
        read = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
    return read[0].format.name, np.stack([frame.to_ndarray(format="rgba") for frame in read])


@pytest.mark.parametrize(
    ("suffix", "codec", "kind", "atol"), [(".webm", "libvpx-vp9", "yuva420p", 8), (".mov", None, "yuva444p12le", 1)]
)
def test_transparent_videos_for_editors(tmp_path, suffix, codec, kind, atol):
    """Alpha is what it was; and colours at the rim are no darker than inside, though it is black around."""
    written = discs()
    write_video(tmp_path / f"a{suffix}", written, 30000 / 1001)
    found, read = decoded(tmp_path / f"a{suffix}", codec)
    read = read[:, :41, :57].astype(int)
    assert found == kind and len(read) == 6
    assert np.abs(read[..., 3] - written[..., 3]).max() <= atol
    seen = written[..., 3] > 0
    assert np.abs(read[..., :3] - written[..., :3])[seen].max() <= 12
    assert open_clip(tmp_path / f"a{suffix}", cache=None).fps == pytest.approx(29.97, rel=0.01)


def test_colours_go_on_under_what_is_transparent():
    picture = np.zeros((20, 30, 4), np.uint8)
    picture[5:10, 5:10] = [200, 100, 50, 255]
    picture[5:10, 20:25] = [0, 50, 250, 255]
    picture[5, 10] = [9, 9, 9, 1]  # hardly there: its colour is rounding, and goes no further
    bled = bleed(picture, reach=4)
    np.testing.assert_array_equal(bled[..., 3], picture[..., 3])
    np.testing.assert_array_equal(bled[picture[..., 3] > 0], picture[picture[..., 3] > 0])
    assert bled[7, 13].tolist() == [200, 100, 50, 0] == bled[4, 11].tolist() and bled[7, 16].tolist() == [0, 50, 250, 0]
    assert not bled[18].any()  # out of reach
    np.testing.assert_array_equal(bleed(np.zeros_like(picture)), 0)


def test_odd_sizes_floats_and_grey(tmp_path):
    write_video(tmp_path / "odd.mp4", frames(size=(41, 57)), 25)
    assert open_clip(tmp_path / "odd.mp4", cache=None).size == (42, 58)
    write_video(tmp_path / "float.apng", [frame / np.float32(255) for frame in frames()], 25)
    np.testing.assert_array_equal(list(open_clip(tmp_path / "float.apng", cache=None)), frames())
    write_video(tmp_path / "grey.mp4", frames()[..., :1], 25)
    assert open_clip(tmp_path / "grey.mp4", cache=None).count == 12


def test_still_frames_of_a_gif_are_kept(tmp_path):
    still = np.repeat(frames(1), 9, axis=0)
    write_video(tmp_path / "still.gif", still, 25)
    read = np.stack(list(open_clip(tmp_path / "still.gif", cache=None)))
    assert len(read) == 9 and (read == read[0]).all()  # one palette and one dither: nothing flickers


@pytest.mark.parametrize(
    ("suffix", "fps", "seconds"), [(".gif", 25, 1.2), (".gif", 60, 0.5), (".webp", 25, 1.2), (".apng", 25, 1.2)]
)
def test_players_show_it_for_as_long_as_it_is(tmp_path, suffix, fps, seconds):
    """The last frame, too, has its time; equal frames are no shorter; no frame of a GIF takes less than 20 ms."""
    written = np.repeat(frames(10), 3, axis=0)
    write_video(tmp_path / f"a{suffix}", written, fps)
    with Image.open(tmp_path / f"a{suffix}") as image:
        shown = []
        for k in range(image.n_frames):
            image.seek(k)
            image.load()
            shown.append(image.info["duration"])
    assert sum(shown) == pytest.approx(1000 * seconds, abs=20) and min(shown) >= 20


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp", ".apng"])
def test_frames_are_not_kept(tmp_path, suffix):
    gone, most = [], 0

    def drawn():
        nonlocal most
        for k in range(200):
            frame = np.full((16, 16, 3), k, np.uint8)
            weakref.finalize(frame, gone.append, k)
            yield frame
            most = max(most, k + 1 - len(gone))

    write_video(tmp_path / f"a{suffix}", drawn(), 25)
    assert most < 60


def test_refusals_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .*received '.xyz'"):
        write_video(tmp_path / "a.xyz", frames(), 25)
    with pytest.raises(ValueError, match="received none"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match=r"holds no transparency.*\.webm, \.mov, \.webp or \.apng"):
        write_video(tmp_path / "a.mp4", np.zeros((2, 8, 8, 4), np.uint8), 25)

    def broken():
        yield from frames(3)
        raise KeyboardInterrupt

    (tmp_path / "old.mp4").write_bytes(b"the old one")
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "old.mp4", broken(), 25)
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"the old one"


@pytest.mark.parametrize(("shape", "mode"), [((5, 7), "L"), ((5, 7, 1), "L"), ((5, 7, 3), "RGB"), ((5, 7, 4), "RGBA")])
def test_png(tmp_path, shape, mode):
    array = np.random.default_rng(0).random(shape, np.float32)
    write_png(tmp_path / "a" / "b.png", array)
    with Image.open(tmp_path / "a" / "b.png") as image:
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(shape), np.rint(array * 255))
    with pytest.raises(ValueError, match=r"received \(5, 7, 2\)"):
        write_png(tmp_path / "c.png", np.zeros((5, 7, 2)))
    assert not (tmp_path / "c.png").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif", ".webp", ".apng"])
def test_frames_at_times_of_their_own(tmp_path, suffix):
    times = [0, 0.04, 0.08, 3.08, 3.12, 3.24, 3.28]
    write_video(tmp_path / f"a{suffix}", frames(7), 25, times=times)
    clip = open_clip(tmp_path / f"a{suffix}", cache=None)
    np.testing.assert_allclose(clip.times, times, atol=2e-3)
    assert clip.fps == pytest.approx(25, rel=0.01)


def with_sound(path, codec="aac", seconds=2) -> None:
    """A video of 25 frames a second, with a tone that is loud in its second second alone."""
    with av.open(str(path), "w") as file:
        picture, sound = file.add_stream("libx264", rate=25), file.add_stream(codec, rate=48000, layout="mono")
        picture.height, picture.width, picture.pix_fmt = 40, 56, "yuv420p"
        for frame in frames(25 * seconds):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(picture.encode())
        beat = np.arange(48000 * seconds)
        wave = np.float32(np.sin(beat / 20) * (beat >= 48000))[None]
        for start in range(0, wave.shape[1], 1024):
            block = av.AudioFrame.from_ndarray(wave[:, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts = 48000, start
            file.mux(sound.encode(block))
        file.mux(sound.encode())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_the_sound_of_a_clip_goes_with_its_frames(tmp_path, suffix):
    with_sound(tmp_path / "talk.mp4")
    clip = open_clip(tmp_path / "talk.mp4", frames=(15, 45), cache=None)
    write_video(tmp_path / f"again{suffix}", clip, clip.fps, sound=clip.sound)
    with av.open(str(tmp_path / f"again{suffix}")) as file:
        played = [(float(block.pts * block.time_base), block.to_ndarray()) for block in file.decode(audio=0)]
    loud = [time for time, wave in played if np.abs(wave).max() > 0.5]
    assert played[0][0] == pytest.approx(0, abs=0.03) and loud[0] == pytest.approx(0.4, abs=0.05)  # frame 10 of 30
    assert loud[-1] == pytest.approx(1.2, abs=0.05)
    assert open_clip(tmp_path / f"again{suffix}", cache=None).count == 30


def test_sound_that_cannot_be_kept(tmp_path):
    with_sound(tmp_path / "talk.mkv", codec="wavpack")
    sound = open_clip(tmp_path / "talk.mkv", cache=None).sound
    with pytest.raises(ValueError, match="holds no sound. Write .mp4"):
        write_video(tmp_path / "a.gif", frames(), 25, sound=sound)
    with pytest.raises(ValueError, match=r".mp4 holds no wavpack, the sound of .*Write .mkv"):
        write_video(tmp_path / "a.mp4", frames(), 25, sound=sound)
    assert [path.name for path in tmp_path.iterdir()] == ["talk.mkv"]
    write_video(tmp_path / "mute.mp4", frames(), 25)
    assert open_clip(tmp_path / "mute.mp4", cache=None).sound is None
