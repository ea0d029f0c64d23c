"""The optional tensorflow-io reader: its errors everywhere, its frames where tensorflow-io is installed."""

import importlib.util
import sys

import av
import numpy as np
import pytest
import tensorflow as tf

from eqvid_tf.data.images import ClipError
from eqvid_tf.data.tfio_reader import RUNS_ON, read_tfio

HERE = importlib.util.find_spec("tensorflow_io") is not None and tf.__version__.startswith(RUNS_ON)
needs_tfio = pytest.mark.skipif(
    not HERE, reason="tensorflow-io with TensorFlow 2.16 or 2.17 is not installed here (the extra [tfio])"
)


@pytest.fixture
def video(tmp_path):
    """A small file whose frames FFmpeg 4 and today's FFmpeg decode to the same numbers."""
    path = tmp_path / "clip.mp4"
    rows, columns = np.mgrid[:48, :64]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 4_000_000
        for t in range(12):
            frame = np.stack([columns * 4, rows * 5, np.full_like(rows, 20 * t)], axis=-1).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A module named tensorflow_io, with no FFmpeg to find, on a TensorFlow that it runs on."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_io"]:
        monkeypatch.delitem(sys.modules, name)
    ops = tmp_path / "stand_in/tensorflow_io/python/ops"
    ops.mkdir(parents=True)
    for folder in (ops, ops.parent, ops.parents[1]):
        (folder / "__init__.py").touch()
    (ops / "ffmpeg_ops.py").write_text("raise NotImplementedError('could not find ffmpeg')")
    monkeypatch.syspath_prepend(str(tmp_path / "stand_in"))
    monkeypatch.setattr(tf, "__version__", RUNS_ON[-1] + "1")
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_io"]:
        del sys.modules[name]


def test_missing_file():
    with pytest.raises(ClipError, match=r"^nowhere\.mp4: there is no such file\. Check the path\.$"):
        read_tfio("nowhere.mp4")


def test_missing_module(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(ImportError, match=r"^tensorflow-io is not installed\. .*'\.\[tfio\]'"):
        read_tfio(video)


def test_wrong_tensorflow(video, stand_in, monkeypatch):
    monkeypatch.setattr(tf, "__version__", "2.21.0")
    with pytest.raises(ImportError, match=r"^tensorflow-io runs on TensorFlow 2\.16 and 2\.17; this is 2\.21\.0\. Use"):
        read_tfio(video)


def test_missing_ffmpeg(video, stand_in, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"^tensorflow-io finds no FFmpeg 4 .*LD_LIBRARY_PATH.*opencv") as caught:
        read_tfio(video)
    assert "\n" not in str(caught.value)


@needs_tfio
def test_frames_are_those_of_pyav(video):
    with av.open(str(video)) as container:
        expected = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    frames = read_tfio(video)
    assert frames.element_spec == tf.TensorSpec((48, 64, 3), tf.uint8)
    read = np.stack(list(frames.as_numpy_iterator()))
    np.testing.assert_array_equal(read, expected)
    pairs = tf.data.Dataset.zip((frames, frames.skip(1)))  # two passes at once
    for k, (frame, next_frame) in enumerate(pairs.as_numpy_iterator()):
        np.testing.assert_array_equal([frame, next_frame], expected[k : k + 2])
    assert k == len(expected) - 2


@needs_tfio
def test_no_video(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("this is no video")
    with pytest.raises(ClipError, match=r"text\.mp4: FFmpeg finds no video here"):
        read_tfio(path)


@needs_tfio
def test_codec_that_ffmpeg_4_lacks(video, monkeypatch):
    monkeypatch.setattr("eqvid_tf.data.tfio_reader.TOO_NEW", {"mpeg4"})
    with pytest.raises(ClipError, match=r"clip\.mp4: FFmpeg 4 does not decode mpeg4\."):
        read_tfio(video)
