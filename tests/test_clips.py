"""Clips of every kind: the right frames in the right order, and one clear line for what is no clip."""

import contextlib
import functools
import itertools
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from eqvid_tf.data import decoding
from eqvid_tf.data.clips import ClipError, open_clip, read_image
from eqvid_tf.data.readers import VideoReader
from eqvid_tf.data.repeats import find_repeats
from eqvid_tf.data.times import rate_of, rising_times
from eqvid_tf.data.writers import write_video
from eqvid_tf.pixels.canvas import fit

SHARED = Path(__file__).parents[2] / "shared" / "clips"
RGB = {"mp4": "libx264rgb", "mov": "libx264rgb", "mkv": "ffv1", "avi": "ffv1"}  # lossless


@functools.cache
def drawn(count: int, size=(24, 36)) -> list[np.ndarray]:
    """Distinct frames that a turn or a flip changes."""
    rng = np.random.default_rng(7)
    still = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    frames = []
    for k in range(count):
        frame = still.copy()
        frame[2:8, k % (size[1] - 6) :][:, :6] = (255, 5 * k % 256, 40)
        frames.append(frame)
    return frames


def make(
    path: Path, frames, times=None, codec=None, pixel_aspect=None, container=None, fields=False, **options
) -> Path:
    """A video of `frames`, lossless by default, shown at `times` (milliseconds) or 25 a second, or as two `fields`."""
    codec = codec or RGB[path.suffix[1:]]
    kind = {"libx264rgb": "rgb24", "ffv1": "bgr0", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options={"qp": "0", **options} if "264" in codec else options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], kind
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k, frame in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=kind)
            if times:
                frame.pts, frame.time_base = times[k], Fraction(1, 1000)
            file.mux(stream.encode(interlaced(frame) if fields else frame))
        file.mux(stream.encode())
    return path


def interlaced(frame: av.VideoFrame) -> av.VideoFrame:
    """The frame, said to be of two fields."""
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)),
        graph.add("setparams", "field_mode=tff"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    return graph.pull()


def folder(path: Path, frames, name="{:05d}.png") -> Path:
    path.mkdir(parents=True)
    for k, frame in enumerate(frames):
        Image.fromarray(frame).save(path / name.format(k))
    return path


def opened(path: Path, **options):
    return open_clip(path, cache=None, **options)


def refused(path: Path, match: str, **options) -> None:
    with pytest.raises(ClipError, match=match) as caught:
        opened(path, **options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_constant_rate_gives_exactly_its_frames(tmp_path, suffix):
    frames = drawn(30)
    clip = opened(make(tmp_path / f"walk.{suffix}", frames))
    assert (clip.name, clip.size, clip.fps, clip.count, len(clip)) == ("walk", (24, 36), 25.0, 30, 30)
    np.testing.assert_array_equal(list(clip), frames)
    np.testing.assert_array_equal(clip.at(17), frames[17])
    np.testing.assert_array_equal(clip.at(-1), frames[-1])
    np.testing.assert_array_equal(clip.arrays((24, 36)), frames)
    with pytest.raises(ClipError, match="frames 0 to 29"):
        clip.at(30)


@pytest.mark.parametrize("name", ["walk.mp4", "fields.ts", "walk.webp", "walk"])
def test_chosen_frames_are_those_of_the_whole_clip(tmp_path, name):
    frames, path = drawn(20), tmp_path / name
    if name == "walk":
        folder(path, frames)
    elif path.suffix == ".webp":
        images = [Image.fromarray(frame) for frame in frames]
        images[0].save(path, save_all=True, append_images=images[1:], duration=40, lossless=True)
    else:
        film = {"codec": "mpeg2video", "fields": True, "flags": "+ildct+ilme"} if path.suffix == ".ts" else {}
        make(path, frames, g="6", **film)
    for cut in (None, (7, 19)):
        clip = opened(path, frames=cut)
        for chosen in (np.array([1, 4, 5, 11]), range(2, clip.count, 3), [clip.count - 1]):
            np.testing.assert_array_equal(list(clip.native(chosen)), np.stack(list(clip))[chosen])
        assert not list(clip.native([]))


def test_frames_that_are_not_chosen_are_not_converted(tmp_path, monkeypatch):
    clip, converted = opened(make(tmp_path / "walk.mp4", drawn(20))), []
    convert = VideoReader._converted
    monkeypatch.setattr(VideoReader, "_converted", lambda *given: converted.append(1) or convert(*given))
    assert len(list(clip.native([3, 9, 10]))) == len(converted) == 3


@pytest.mark.parametrize(
    ("matrix", "displayed"),
    [
        ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),  # a phone held upright
        ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
        ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
        ((-1, 0, 0, 1), lambda frame: frame[:, ::-1]),
        ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    ],
)
def test_rotation_flag(tmp_path, matrix, displayed):
    path, frames = make(tmp_path / "turned.mp4", drawn(5)), drawn(5)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the display matrix of a version 0 track header
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    clip = opened(path)
    assert clip.size == displayed(frames[0]).shape[:2]
    np.testing.assert_array_equal(list(clip), [displayed(frame) for frame in frames])
    canvas = clip.size[0] // 2, clip.size[1] // 2
    fitted = np.float32([fit(frame, canvas) for frame in clip])
    assert np.abs(clip.arrays(canvas) - fitted).mean() < 1.5  # two resamplers on white noise


def test_pixels_that_are_not_square(tmp_path):
    clip = opened(make(tmp_path / "anamorphic.mp4", drawn(4), pixel_aspect=Fraction(4, 3)))
    assert clip.size == (24, 48)
    assert {frame.shape for frame in clip} == {(24, 48, 3)}


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_every_frame_is_kept_in_its_own_time(tmp_path, suffix):
    times = np.cumsum([0, *[40] * 14, 600_000, *[40] * 9, 500, *[40] * 4])  # pauses of ten minutes and of half a second
    clip = opened(make(tmp_path / f"phone.{suffix}", drawn(30), times.tolist()))
    assert (clip.count, clip.fps) == (30, 25)
    np.testing.assert_allclose(clip.times, times / 1000, atol=1e-3)
    np.testing.assert_array_equal(list(clip), drawn(30))
    np.testing.assert_array_equal(clip.at(16), drawn(30)[16])
    assert ["600 s before frame 15, and 1 shorter one:" in remark for remark in clip.remarks] == [True]
    assert "0.50 s before frame 5:" in opened(clip.path, frames=(20, 30)).remarks[0]
    assert not opened(clip.path, frames=(0, 15)).remarks


def test_rate_is_that_of_the_usual_interval():
    milliseconds = [round(k * 1000 / 30) / 1000 for k in range(100)]
    assert rate_of(milliseconds, 30.0) == 30.0
    assert rate_of(milliseconds[:50] + [time + 9 for time in milliseconds[50:]], 8.3) == pytest.approx(30, rel=1e-3)
    assert rate_of([0.0, 0.0, 0.1, 0.2, 0.2, 0.3], 25.0) == pytest.approx(10)  # some times are repeated
    assert rate_of([0.0, 0.2, 0.1, 0.3], 25.0) == 25.0  # the times run backwards
    assert rate_of([None] * 4, 12.5) == 12.5  # a raw stream has no times
    assert rate_of([0.0], 25.0) == 25.0
    np.testing.assert_allclose(rising_times([0.0, 0.2, 0.1], 10.0), [0, 0.1, 0.2])
    np.testing.assert_allclose(rising_times([-0.5, 0.2, 1.5], 10.0), [0, 0.7, 2])  # a file may begin before zero


def test_gif_with_disposal_transparency_and_delays(tmp_path):
    frames = []
    for k in range(8):
        frame = np.zeros((32, 32, 4), np.uint8)
        frame[4:12, k * 2 : k * 2 + 8] = 255, 30 * k, 0, 255
        frames.append(frame)
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=80, disposal=2, loop=0)
    clip = opened(tmp_path / "a.gif")
    assert (clip.count, clip.fps) == (8, 12.5)
    shown = [frame[..., :3] * (frame[..., 3:] > 0) for frame in frames]  # transparent pixels lie on black
    np.testing.assert_allclose(np.int32(list(clip)), np.int32(shown), atol=8)  # the palette
    images[0].save(tmp_path / "b.gif", save_all=True, append_images=images[1:], duration=[40] * 7 + [3000], loop=0)
    assert opened(tmp_path / "b.gif").fps == 25  # a pause at the end is no part of the clock


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov", "gif"])
def test_cut_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"whole.{suffix}"
    if suffix == "gif":
        images = [Image.fromarray(frame) for frame in drawn(40)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    else:
        make(path, drawn(40), container={"movflags": "faststart"} if suffix in ("mp4", "mov") else None)
    data = path.read_bytes()
    of = "of 40 " if suffix in ("mp4", "mov", "avi") else ""
    for part in (0.35, 0.65, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        refused(path, rf"decoded \d+ {of}frames?; the file is cut or damaged")


def test_cut_lossy_avi_and_cut_mp4_without_its_index(tmp_path):
    for codec in ("mpeg4", "mjpeg"):
        path = make(tmp_path / f"{codec}.avi", drawn(40), codec=codec)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10])
        refused(path, r"decoded \d+ of 40 frames; the file is cut or damaged")
    path = make(tmp_path / "c.mp4", drawn(40))
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "the file is cut")


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_file_that_lost_its_index_alone_is_good(tmp_path, suffix):
    path = make(tmp_path / f"whole.{suffix}", drawn(40))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"idx1" if suffix == "avi" else b"\x1c\x53\xbb\x6b") + 2])
    np.testing.assert_array_equal(list(opened(path)), drawn(40))


def test_an_edit_list_that_hides_frames_is_good(tmp_path):
    path = make(tmp_path / "trimmed.mp4", drawn(40), container={"movflags": "faststart"}, g="10", bf="0")
    data = bytearray(path.read_bytes())
    at, scale = data.index(b"elst") + 12, struct.unpack(">I", data[(at := data.index(b"mdhd") + 16) : at + 4])[0]
    at = data.index(b"elst") + 12  # its one entry: duration in 1/1000 s, start in the track's scale
    data[at : at + 8] = struct.pack(">Ii", 28 * 40, 12 * scale // 25)
    path.write_bytes(data)
    np.testing.assert_array_equal(list(opened(path)), drawn(40)[12:])


def test_an_avi_that_counts_dropped_frames_is_good(tmp_path):
    times = [40 * k for k in range(40) if k not in (7, 8, 20)]
    frames = drawn(37)
    path = make(tmp_path / "webcam.avi", frames, times)
    assert opened(path).count == 37


def test_files_that_are_no_clip(tmp_path):
    refused(tmp_path / "nowhere.mp4", "no such file")
    (tmp_path / "text.mp4").write_text("this is a letter, not a video\n" * 40)
    refused(tmp_path / "text.mp4", "FFmpeg finds no video")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "FFmpeg finds no video")
    (tmp_path / "text.webp").write_text("nor this")
    refused(tmp_path / "text.webp", "not an image")
    refused(make(tmp_path / "one.mp4", drawn(1)), "1 frame; a clip needs two or more")
    Image.fromarray(drawn(1)[0]).save(tmp_path / "still.png")
    refused(tmp_path / "still.png", "1 frame; a clip needs two or more")


def test_damage_in_the_middle(tmp_path):
    path = make(tmp_path / "a.avi", drawn(40), codec="mjpeg")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = bytes(1500)
    path.write_bytes(data)
    refused(path, "cut or damaged")


def test_range_of_frames(tmp_path):
    frames = drawn(20)
    paths = make(tmp_path / "a.mp4", frames), folder(tmp_path / "a", frames)
    for path, cut in itertools.product(paths, [(None, 7), (3, None), (3, 9), (-6, -1), (0, 20)]):
        clip, wanted = opened(path, frames=cut), frames[slice(*cut)]
        assert clip.count == len(wanted)
        np.testing.assert_array_equal(list(clip), wanted)
        np.testing.assert_array_equal(clip.arrays((24, 36)), wanted)
        np.testing.assert_array_equal(clip.at(1), wanted[1])


def test_range_outside_of_the_clip(tmp_path):
    path = folder(tmp_path / "a", drawn(20))
    for cut in ((0, 21), (25, None), (5, 6), (9, 3), (-30, None)):
        refused(path, r"of the clip's 0:20", frames=cut)


def test_folder_in_name_order(tmp_path):
    frames = drawn(12)
    for name in ("{}.png", "frame {:03d}.png", "walk_{}_b.png"):
        path = folder(tmp_path / name, frames, name)
        (path / "notes.txt").write_text("no frame")
        (path / ".hidden.png").write_text("no frame")
        clip = opened(path)
        assert (clip.fps, clip.size, clip.name) == (25.0, (24, 36), name)
        np.testing.assert_array_equal(list(clip), frames)


def test_images_of_every_kind(tmp_path):
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    grey = np.repeat(np.rint(ramp / 257).astype(np.uint8)[..., None], 3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), grey)  # scaled, not clipped
    Image.fromarray(grey[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), grey)
    colour = drawn(1, (32, 32))[0]
    Image.fromarray(colour).quantize(16).save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (32, 32, 3)
    alpha = np.linspace(0, 255, 1024).astype(np.uint8).reshape(32, 32)
    Image.fromarray(np.dstack([colour, alpha])).save(tmp_path / "alpha.png")
    black = np.rint(colour * (alpha[..., None] / 255.0))
    np.testing.assert_allclose(read_image(tmp_path / "alpha.png"), black, atol=0.51)
    Image.fromarray(colour).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), colour)
    Image.fromarray(np.float32(alpha / 255)).save(tmp_path / "float.tiff")
    np.testing.assert_array_equal(read_image(tmp_path / "float.tiff")[..., 1], alpha)


def test_photo_orientation(tmp_path):
    frame = drawn(1)[0]
    image = Image.fromarray(frame)
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned clockwise
    for k in range(2):
        image.save(tmp_path / f"{k}.png", exif=exif)
    clip = opened(tmp_path)
    assert clip.size == (36, 24)
    np.testing.assert_array_equal(clip.at(0), np.rot90(frame, -1))


def test_folders_that_are_no_clip(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "there are no images")
    refused(folder(tmp_path / "one", drawn(1)), "1 frame; a clip needs two or more")
    mixed = folder(tmp_path / "mixed", drawn(3))
    Image.fromarray(drawn(1, (24, 30))[0]).save(mixed / "00001.png")
    refused(mixed, "this frame is 30x24, the first one 36x24")
    (mixed / "00001.png").write_text("no image")
    refused(mixed, "not an image")
    cut = folder(tmp_path / "cut", drawn(3))
    data = (cut / "00002.png").read_bytes()
    (cut / "00002.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ClipError, match=r"00002.png: the image is cut or damaged"):
        list(opened(cut))


def test_the_film_behind_a_cover_picture(tmp_path):
    both = tmp_path / "both.mp4"
    sources = [make(tmp_path / "cover.mp4", drawn(1), codec="mjpeg"), make(tmp_path / "film.mp4", drawn(9))]
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(av.open(str(both), "w"))
        files = [stack.enter_context(av.open(str(path))) for path in sources]
        streams = [target.add_stream_from_template(file.streams.video[0]) for file in files]
        streams[0].disposition = av.stream.Disposition.attached_pic
        for file, stream in zip(files, streams):
            for packet in file.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    np.testing.assert_array_equal(list(opened(both)), drawn(9))


def test_a_size_that_changes_in_the_middle(tmp_path):
    parts = [
        make(tmp_path / f"{k}.ts", drawn(20, size), codec="libx264") for k, size in enumerate([(32, 48), (48, 64)])
    ]
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(path.read_bytes() for path in parts))
    refused(whole, r"frame 20 is 64x48, the first one 48x32. Frames of a clip must be of one size")
    assert opened(whole, frames=(0, 20)).size == (32, 48)


@pytest.mark.parametrize(("codec", "suffix", "kind"), [("prores_ks", "mov", "yuva444p10le"), ("qtrle", "mov", "argb")])
def test_transparent_pixels_of_a_film_are_black(tmp_path, codec, suffix, kind):
    layer = np.dstack([drawn(1, (32, 48))[0], np.full((32, 48), 255, np.uint8)])
    layer[:, :24] = 0, 255, 0, 0  # a colour that hides under full transparency
    path = tmp_path / f"layer.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, kind
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(layer, format="rgba").reformat(format=kind)))
        file.mux(stream.encode())
    assert opened(path).at(1)[:, :20].max() <= 2 < opened(path).at(1)[:, 28:].mean()


def test_vp9_with_transparency(tmp_path):
    """What says that a WebM is transparent is a tag; FFmpeg's own decoder passes over it."""
    path = Path(__file__).parents[2] / "shared" / "reports" / "vp9-alpha.webm"
    if not path.is_file():
        pytest.skip(reason="../shared/reports is absent; PyAV's encoder writes no such file")
    assert opened(path).at(1)[:, 28:].max() <= 2


@pytest.mark.parametrize("name", ["take2:1.mp4", "50%.mp4", "run%02d.mp4", "-dash.mp4", "file:a.mp4", "a b'c.mp4"])
def test_names_that_ffmpeg_would_take_for_something_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(name, drawn(5), 25)
    clip = opened(Path(name))
    assert (clip.count, clip.name) == (5, Path(name).stem)
    images = [Image.fromarray(frame) for frame in drawn(5)]
    images[0].save("run%02d.png", save_all=True, append_images=images[1:], duration=40)
    np.testing.assert_array_equal(list(opened(Path("run%02d.png"))), drawn(5))


def tagged(path: Path, level: int, **tags: int) -> Path:
    """Two frames of one grey, 10 bits of brightness `level`, with tags of their colours."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p10le"
        for _ in range(2):
            frame = av.VideoFrame(48, 32, "yuv420p10le")
            for plane, value in zip(frame.planes, (level, 512, 512)):
                plane.update(np.full(plane.buffer_size // 2, value, np.uint16).tobytes())
            for name, value in tags.items():
                setattr(frame, name, value)
                setattr(stream.codec_context, name, value)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def test_hdr_is_tone_mapped_and_said(tmp_path):
    grey = lambda clip: int(clip.at(0)[16, 24, 1])
    tags = {"colorspace": 9, "color_primaries": 9, "color_range": 1}
    for trc, name in ((16, "PQ"), (18, "HLG")):
        levels = [opened(tagged(tmp_path / f"{level}.mkv", level, color_trc=trc, **tags)) for level in (64, 573, 723)]
        black, white, light = map(grey, levels)  # 573 is 203 nits in PQ, a page of paper; 723 is 1,000, a lamp
        assert black <= 2 and 100 < white < light <= 255
        assert [f"colours of {name} are tone-mapped" in remark for remark in levels[0].remarks] == [True]
    plain = opened(tagged(tmp_path / "plain.mkv", 502, colorspace=1, color_primaries=1, color_trc=1, color_range=1))
    assert grey(plain) in (127, 128) and not plain.remarks  # 10 bits alone are no HDR


def test_interlaced_film_is_made_whole_and_said(tmp_path):
    """A bar that moves between the two fields of a frame: rows of its edge differ as far as they are interleaved."""
    frames = []
    for k in range(8):
        frame = np.full((32, 96, 3), 40, np.uint8)
        for field in range(2):
            frame[field::2, 10 + 8 * k + 4 * field :][:, :12] = 220
        frames.append(frame)
    path = make(tmp_path / "film.ts", frames, codec="mpeg2video", fields=True, flags="+ildct+ilme", qmax="2")
    clip = opened(path)
    combed = lambda frame: np.abs(np.diff(frame[8:24, :, 1].astype(int), axis=0)).mean()
    assert combed(frames[4]) > 10 > 3 * combed(clip.at(4))
    assert clip.count == 8 and "interlaced" in clip.remarks[0]
    np.testing.assert_array_equal(list(opened(path, frames=(3, 6))), list(clip)[3:6])


DAMAGED = {"mp4": "libx264", "mkv": "libx264", "flv": "libx264", "avi": "mjpeg"}


@pytest.mark.parametrize("suffix", DAMAGED)
def test_frames_away_from_damage_can_be_taken(tmp_path, suffix):
    path = make(tmp_path / f"a.{suffix}", drawn(60, (48, 64)), codec=DAMAGED[suffix], g="10")
    whole, data = list(opened(path)), bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        hit = [packet for packet in file.demux(video=0) if packet.size][25]
    spoilt = range(hit.pos + 30, hit.pos + max(60, hit.size // 2))
    data[spoilt.start : spoilt.stop] = np.random.default_rng(0).bytes(len(spoilt))
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"decoded (\d+).*damaged at frame \1\b") as caught:
        opened(path)
    first = int(str(caught.value).split("decoded ")[1].split()[0])
    assert 20 <= first <= 30
    for cut in ((0, first), (3, 12), (42, 55)):
        np.testing.assert_array_equal(list(opened(path, frames=cut)), whole[slice(*cut)])
    refused(path, "damaged at frame", frames=(20, 35))


def test_a_range_is_what_the_whole_has_there_however_frames_build_on_each_other(tmp_path):
    for name, codec, options in (
        ("b.mp4", "libx264rgb", {"g": "12", "bf": "3"}),
        ("open.mkv", "libx264rgb", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
        ("refresh.mp4", "libx264rgb", {"x264-params": "intra-refresh=1:keyint=12"}),
        ("m4.avi", "mpeg4", {"g": "12"}),
    ):
        path = make(tmp_path / name, drawn(50), codec=codec, **options)
        whole = list(opened(path))
        for cut in ((0, 5), (11, 14), (12, 20), (23, 40), (30, 50)):
            clip = opened(path, frames=cut)
            np.testing.assert_array_equal(list(clip), whole[slice(*cut)])
            np.testing.assert_array_equal(clip.at(-1), whole[cut[1] - 1])
            np.testing.assert_allclose(clip.times, np.arange(len(clip)) / 25, atol=2e-3)


def test_a_range_does_not_read_on(tmp_path, monkeypatch):
    path = make(tmp_path / "long.mp4", drawn(200), g="10")
    counted, decoder_of = [], decoding.decoder_of

    class Counting:
        def __init__(self, stream):
            self.decoder = decoder_of(stream)

        def decode(self, packet):
            counted.append(packet)
            return self.decoder.decode(packet)

    monkeypatch.setattr(decoding, "decoder_of", Counting)
    opened(path, frames=(150, 160))
    assert len(counted) < 40


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/clips is absent")
@pytest.mark.parametrize(
    ("name", "count", "fps"),
    [
        ("bbb-bunny/bigbuckbunny.mp4", 132, 25),
        ("sam2-juggle/05_default_juggle.mp4", 247, 24),
        ("sam2-cups/02_cups.mp4", 300, 29.97),
        ("tfjs-squats/pose_squats.mp4", 65, 5),
        ("dlc-openfield-mouse/m3v1mp4.mp4", 2330, 30),
        ("intel-one-by-one/one-by-one_0-719.mp4", 720, 10),
        ("intel-asl-a/again.mkv", 77, 30),
        ("intel-asl-a/brother.mkv", 65, 30),
        ("gym-rigid/lunar_lander.gif", 301, 20),
        ("gym-rigid/mountain_car.gif", 298, 20),
        ("movi-a/movi_a_2.gif", 24, 11.98),
        ("intel-worker-zone/worker-zone-detection.gif", 71, 14.99),
        ("davis-rollerblade", 35, 25),
        ("davis-soccerball/frames", 48, 25),
    ],
)
def test_real_clips(name, count, fps):
    clip = opened(SHARED / name)
    assert (clip.count, round(clip.fps, 2)) == (count, fps)
    assert clip.name == (name.split("/")[0] if "davis" in name else Path(name).stem)


def shown_for(tmp_path: Path, holds, **options):
    """A film in which each picture is displayed for so many frames, compressed."""
    frames = [frame for frame, hold in zip(drawn(len(holds), (64, 96)), holds) for _ in range(hold)]
    return opened(make(tmp_path / "film.mp4", frames, codec="libx264", crf="23", **options))


def test_repeated_frames_are_found(tmp_path):
    found = find_repeats(shown_for(tmp_path, [2] * 30))  # 12 a second at 24
    assert (found.usual, found.pictures) == (2, list(range(0, 60, 2)))
    found = find_repeats(shown_for(tmp_path, [1, 1, 1, 2] * 8))  # 24 a second at 30
    assert found.usual == 1.25 and len(found.pictures) == 32
    assert not {5 * k + 4 for k in range(8)} & set(found.pictures)
    found = find_repeats(shown_for(tmp_path, [2] * 10 + [24] + [2] * 10))  # a rest keeps its time
    assert found.usual == 2 and len(found.pictures) == 10 + 12 + 10
    for holds in ([1] * 40, [1] * 20 + [30] + [1] * 20):
        assert find_repeats(shown_for(tmp_path, holds)).usual == 1
    assert find_repeats(shown_for(tmp_path, [2] * 30), 10, 40).pictures == list(range(0, 30, 2))
