"""The cache: decoded once, never half there, never too large, and clear when it cannot be kept."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from eqvid_tf.data import cache, clips, readers
from eqvid_tf.data.clips import open_clip
from eqvid_tf.data.writers import write_png, write_video
from eqvid_tf.pixels.canvas import fit

CANVAS = (16, 24)


def walk(count: int = 6, shade: int = 0) -> np.ndarray:
    images = np.random.default_rng(1).integers(0, 200, (count, 20, 30, 3)).astype(np.uint8)
    images[:, :4] = np.arange(count, dtype=np.uint8)[:, None, None, None] * 9 + shade
    return images


@pytest.fixture
def clip(tmp_path):
    for k, frame in enumerate(walk()):
        write_png(tmp_path / "walk" / f"{k}.png", frame)
    return open_clip(tmp_path / "walk", cache=tmp_path / "cache")


def entries(tmp_path, pattern="*.npy"):
    return sorted((tmp_path / "cache").glob(pattern))


def never(*_):
    raise AssertionError("decoded again")


def test_decoded_once(tmp_path, clip, monkeypatch):
    first = clip.arrays(CANVAS)
    assert isinstance(first, np.memmap) and not first.flags.writeable
    np.testing.assert_array_equal(first, [fit(frame, CANVAS) for frame in clip])
    np.testing.assert_array_equal(np.load(entries(tmp_path)[0], mmap_mode="r", allow_pickle=False), first)
    monkeypatch.setattr(readers.ImageReader, "read", never)
    np.testing.assert_array_equal(clip.arrays(CANVAS), first)
    np.testing.assert_array_equal(open_clip(tmp_path / "walk", cache=tmp_path / "cache").arrays(CANVAS), first)


def test_a_video_is_examined_once(tmp_path, monkeypatch):
    write_video(tmp_path / "walk.mp4", walk(), 25)
    clip = open_clip(tmp_path / "walk.mp4", cache=tmp_path / "cache")
    expected = list(clip)
    monkeypatch.setattr(clips, "examine", never)
    again = open_clip(tmp_path / "walk.mp4", cache=tmp_path / "cache")
    assert repr(again) == repr(clip)
    np.testing.assert_array_equal(list(again), expected)
    note = entries(tmp_path, "*.json")[0]
    note.write_text("{")
    with pytest.raises(AssertionError, match="decoded again"):
        open_clip(tmp_path / "walk.mp4", cache=tmp_path / "cache")


def test_other_content_canvas_or_cut_is_another_entry(tmp_path, clip):
    clip.arrays(CANVAS)
    clip.arrays((24, 24))
    open_clip(tmp_path / "walk", cache=tmp_path / "cache", frames=(0, 5)).arrays(CANVAS)
    write_png(tmp_path / "walk" / "3.png", walk(shade=50)[3])
    changed = open_clip(tmp_path / "walk", cache=tmp_path / "cache").arrays(CANVAS)
    assert len(entries(tmp_path)) == 4
    np.testing.assert_array_equal(changed[3], fit(walk(shade=50)[3], CANVAS))


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-7], lambda d: d + b"more", lambda d: d[:40], lambda d: b"", lambda d: b"x" * 99]
)
def test_a_damaged_entry_is_made_again(tmp_path, clip, damage):
    expected = np.array(clip.arrays(CANVAS))
    path = entries(tmp_path)[0]
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(clip.arrays(CANVAS), expected)


def test_a_crash_leaves_nothing(tmp_path, clip, monkeypatch):
    def crash(*_):
        yield np.zeros((*CANVAS, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr(clip, "_fitted", crash)
    with pytest.raises(KeyboardInterrupt):
        clip.arrays(CANVAS)
    assert not list((tmp_path / "cache").iterdir())


def test_the_entries_used_longest_ago_go_first(tmp_path, clip, monkeypatch):
    canvases = [(16, 24), (16, 32), (16, 40)]
    for k, canvas in enumerate(canvases):
        clip.arrays(canvas)
        for path in entries(tmp_path, f"*{canvas[1]}-*.npy"):
            os.utime(path, (k, k))
    clip.arrays(canvases[0])  # used again
    sizes = {path: path.stat().st_size for path in entries(tmp_path)}
    stale = tmp_path / "cache" / ".walk.0123.draft.npy"
    stale.write_bytes(b"of a crash")
    os.utime(stale, (0, 0))
    monkeypatch.setenv("EQVID_CACHE_BYTES", str(sum(sizes.values())))
    clip.arrays((16, 48))
    left = [path.name.split("-")[1] for path in entries(tmp_path)]
    assert left == ["16x24", "16x48"] and not stale.exists()
    monkeypatch.setenv("EQVID_CACHE_BYTES", "0")
    assert len(clip.arrays(canvases[2])) == 6  # the one in use stays


def test_without_a_cache(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", never)
    for none in (None, "none"):
        array = open_clip(tmp_path / "walk", cache=none).arrays(CANVAS)
        np.testing.assert_array_equal(array, clip.arrays(CANVAS))
        assert not array.flags.writeable


def test_auto_is_the_users_cache_folder(tmp_path, monkeypatch, clip):
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "user" / name))
    open_clip(tmp_path / "walk").arrays(CANVAS)
    assert list((tmp_path / "user" / "eqvid_tf").glob("*.npy"))


def test_a_place_that_cannot_be_written(tmp_path, clip, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be kept here .*--cache DIR, or --cache none"):
        open_clip(tmp_path / "walk", cache=tmp_path / "file")
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "file" / name))
    assert open_clip(tmp_path / "walk").arrays(CANVAS).shape[0] == 6  # the user's own cache is left out

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "_write", full)
    with pytest.raises(OSError, match="no space left on device.*--cache none"):
        clip.arrays(CANVAS)
    with pytest.raises(OSError, match="no space left on device.*TMPDIR"):
        open_clip(tmp_path / "walk", cache=None).arrays(CANVAS)
    assert not entries(tmp_path, "*")


def test_arrays_are_joined_in_a_file_and_one_alone_stays():
    parts = [np.random.default_rng(k).random((k + 1, 4, 6), np.float32) for k in range(3)]
    whole = cache.joined(iter(parts), [1, 2, 3])
    assert isinstance(whole, np.memmap) and whole.dtype == np.float32
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert cache.joined(parts[:1], [1]) is parts[0]


def test_what_lies_in_a_file_gives_its_memory_back_and_is_read_again():
    resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    whole = cache.joined((np.full((4, 1024, 1024), k, np.uint8) for k in range(8)), [4] * 8)
    parts = np.split(whole, 8)
    assert whole.sum() == 28 * (4 << 20)
    before = resident()
    cache.release([*parts, np.zeros(3)])
    assert before - resident() > 24 << 20  # of 32 MiB
    assert [part[3, 5, 7] for part in parts] == list(range(8)) and whole.sum() == 28 * (4 << 20)
