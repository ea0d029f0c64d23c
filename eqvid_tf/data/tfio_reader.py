"""An optional reader: video decoded by tensorflow-io, inside TensorFlow. docs/tfio.md says what it needs."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import tempfile
import warnings
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from eqvid_tf.data.decoding import opened
from eqvid_tf.data.images import ClipError

RUNS_ON = "2.16.", "2.17."  # TensorFlow; on a later one the ops of tensorflow-io 0.37.1 have undefined symbols
TOO_NEW = {"av1", "vvc"}  # no decoder in FFmpeg 4: its swscale would end the process on an unknown pixel format
INSTEAD = "Use eqvid_tf.data.clips.open_clip, or python -m pip install '.[tfio]' in an environment of its own."
OPS = "tensorflow_io/python/ops"
# Where tensorflow-io's FFmpeg ops look for shared libraries, from the folder that holds the package tensorflow_io.
LIBRARIES = "_solib_local/_U@ffmpeg_U4_U2_S_S_Cffmpeg___Uexternal_Sffmpeg_U4_U2_Sstub"


def read_tfio(path: str | Path) -> tf.data.Dataset:
    """Read the frames of a video file's first video stream, in order, decoded by tensorflow-io.

    Why: ops that decode, in a `tf.data.Dataset`, for those who have tensorflow-io already. All else here uses
    `open_clip`, which respects rotation, pixel aspect and times and finds damage; this reader does not.

    Shapes:
        Elements uint8 RGB [H, W, 3], as coded; H and W are static.

    Raises:
        ClipError: when the file is missing, holds no video, or one that FFmpeg 4 does not decode.
        ImportError: when tensorflow-io, a TensorFlow that it runs on, or FFmpeg 4 is missing; it says which.

    Example:
        >>> read_tfio("nowhere.mp4")
        Traceback (most recent call last):
        ...
        eqvid_tf.data.images.ClipError: nowhere.mp4: there is no such file. Check the path.
    """
    path = Path(path)
    if not path.is_file():
        raise ClipError(f"{path}: there is no such file. Check the path.")
    tfio = _tensorflow_io()
    with opened(path) as (container, stream):
        number = container.streams.video.index(stream)
        shape, codec = (stream.height, stream.width, 3), stream.codec_context.codec.canonical_name
    if codec in TOO_NEW:
        raise ClipError(f"{path}: FFmpeg 4 does not decode {codec}. Use eqvid_tf.data.clips.open_clip.")
    # A decoder is opened inside the flat_map, one for each pass: two passes over one decoder take each other's frames.
    decoder = tf.data.Dataset.from_tensors(str(path))
    frames = decoder.flat_map(lambda name: tfio.IODataset.graph(tf.uint8).from_ffmpeg(name, f"v:{number}"))
    return frames.map(lambda frame: tf.ensure_shape(frame, shape))


def _tensorflow_io() -> ModuleType:
    """The module, with its FFmpeg ops loaded."""
    if importlib.util.find_spec("tensorflow_io") is None:
        raise ImportError(f"tensorflow-io is not installed. {INSTEAD}")
    if not tf.__version__.startswith(RUNS_ON):
        raise ImportError(f"tensorflow-io runs on TensorFlow 2.16 and 2.17; this is {tf.__version__}. {INSTEAD}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every FFmpeg that it does not find
        tfio = importlib.import_module("tensorflow_io")
        try:
            _load_ffmpeg_ops(Path(str(tfio.__file__)).parents[1])
        except NotImplementedError as error:
            raise ImportError(
                "tensorflow-io finds no FFmpeg 4 (libavformat.so.58, libswscale.so.5). Put one on LD_LIBRARY_PATH, or "
                "python -m pip install opencv-python-headless==4.6.0.66, which has it inside."
            ) from error
    return tfio


def _load_ffmpeg_ops(installed: Path) -> None:
    """Load the ops with the system's FFmpeg 4 or, where there is none, with the one in OpenCV's wheel.

    Why links: the ops look for FFmpeg's libraries by their plain names, and the wheel has them under names with a hash.
    tensorflow-io also tries a copy of its ops under TFIO_DATAPATH: it gets links to them, and links of plain names
    where they look. What is loaded stays, so the links are removed.
    """
    before = os.environ.get("TFIO_DATAPATH")
    with tempfile.TemporaryDirectory(prefix="eqvid-tfio-") as place:
        _link_opencv_ffmpeg(installed, Path(place))
        os.environ["TFIO_DATAPATH"] = place
        try:
            importlib.import_module("tensorflow_io.python.ops.ffmpeg_ops")
        finally:
            os.environ.pop("TFIO_DATAPATH")
            if before is not None:
                os.environ["TFIO_DATAPATH"] = before


def _link_opencv_ffmpeg(installed: Path, place: Path) -> None:
    """Links in `place` to the ops, and to FFmpeg's libraries as libavformat.so.58 and so on."""
    try:
        import cv2  # loads what its FFmpeg needs in turn
    except ImportError:
        return
    (place / OPS).mkdir(parents=True)
    (place / LIBRARIES).mkdir(parents=True)
    for path in (installed / OPS).glob("libtensorflow_io_ffmpeg_*.so"):
        (place / OPS / path.name).symlink_to(path)
    for path in Path(cv2.__file__).parents[1].glob("opencv_python_headless.libs/lib[as][vw]*"):
        (place / LIBRARIES / re.sub(r"-[0-9a-f]{8}(\.so\.\d+).*", r"\1", path.name)).symlink_to(path)
