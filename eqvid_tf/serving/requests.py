"""What a served request carries: its inputs checked, pictures as encoded bytes, and the requests that warm a server up.

All checks run in the SavedModel's graph, in stock ops: a server without Python answers a bad request with these errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from eqvid_tf.pixels.coordinates import SINGULAR
from eqvid_tf.serving.transports import MOST_PIXELS

TOO_LARGE = f"the pictures of a request may have at most {MOST_PIXELS} pixels together; received [height, width]"


def check_inputs(specs: Sequence[tf.TensorSpec], values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The inputs of a signature; to read one is an error unless all have their shapes, one batch and finite numbers.

    Args:
        specs: of the inputs; one named "motion" must be invertible, too.
        values: in the same order.
    """
    values = [tf.ensure_shape(value, spec.shape) for spec, value in zip(specs, values)]
    counts = tf.stack([tf.shape(value)[0] for value in values])
    filled = tf.reduce_all(tf.stack([tf.size(value) > 0 for value in values]))
    names = ", ".join(spec.name for spec in specs)
    text = f"{names}: expected the same number of each, at least one, none empty; received"
    with tf.control_dependencies([tf.debugging.Assert(filled & tf.reduce_all(counts == counts[0]), [text, counts])]):
        return [_check_input(value, spec) for spec, value in zip(specs, values)]


def _check_input(value: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
    """One input, if its numbers are finite; a motion if it is invertible, too."""
    if spec.dtype == tf.string:
        return tf.identity(value)
    value = tf.debugging.check_numerics(value, f"{spec.name} must be finite")
    return _check_invertible(value) if spec.name == "motion" else value


def _check_invertible(motion: tf.Tensor) -> tf.Tensor:
    """Motions [..., 2, 3], if all are invertible."""
    a, b, c, d = motion[..., 0, 0], motion[..., 0, 1], motion[..., 1, 0], motion[..., 1, 1]
    invertible = tf.reduce_all(tf.abs(a * d - b * c) >= SINGULAR)
    text = "motion must be invertible; received a determinant of 0"
    with tf.control_dependencies([tf.debugging.Assert(invertible, [text])]):
        return tf.identity(motion)


# ---- pictures


def decode_pictures(files: tf.Tensor) -> tf.Tensor:
    """Decode PNG or JPEG files, all of one size and at most `MOST_PIXELS` together, by what their headers claim.

    Shapes: string [B] -> float32 [B, H, W, 3] in [0, 1].
    """
    sizes = tf.map_fn(_claimed_size, files, fn_output_signature=tf.TensorSpec((2,), tf.int32))
    text = "expected pictures of one size; received [height, width]"
    one_size = tf.debugging.Assert(tf.reduce_all(sizes == sizes[:1]), [text, sizes])
    small = tf.reduce_sum(tf.reduce_prod(tf.cast(sizes, tf.int64), 1)) <= MOST_PIXELS
    with tf.control_dependencies([one_size, tf.debugging.Assert(small, [TOO_LARGE, tf.shape(files), sizes])]):
        files = tf.identity(files)
    decode = lambda file: tf.io.decode_image(file, channels=3, expand_animations=False)
    frames = tf.map_fn(decode, files, fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8))
    return tf.cast(frames, tf.float32) / 255


def encode_pictures(frames: tf.Tensor) -> tf.Tensor:
    """Encode frames as PNG files.

    Shapes: float32 [B, H, W, 3] in [0, 1] -> string [B].
    """
    return tf.io.encode_png(tf.cast(tf.round(frames * 255), tf.uint8), compression=1)


def _claimed_size(file: tf.Tensor) -> tf.Tensor:
    """The size int32 (height, width) in the header of a PNG or a JPEG, checked before memory is taken for it."""
    begins = lambda magic: tf.strings.substr(file, 0, len(magic)) == magic
    png, jpeg = begins(b"\x89PNG\r\n\x1a\n"), begins(b"\xff\xd8\xff")
    length = tf.strings.length(file)
    text = "expected the bytes of a PNG or a JPEG file; received as many bytes of something else:"
    with tf.control_dependencies([tf.debugging.Assert((png & (length > 32)) | jpeg, [text, length])]):
        file = tf.identity(file)
    jpeg_size = lambda: tf.cast(tf.image.extract_jpeg_shape(file)[:2], tf.int64)
    size = tf.cond(png, lambda: _png_size(file), jpeg_size)
    small = tf.reduce_all((size > 0) & (size <= MOST_PIXELS)) & (tf.reduce_prod(size) <= MOST_PIXELS)
    with tf.control_dependencies([tf.debugging.Assert(small, [TOO_LARGE, tf.strings.as_string(size)])]):
        return tf.cast(size, tf.int32)


def _png_size(file: tf.Tensor) -> tf.Tensor:
    """The int64 (height, width) in a PNG's header: from its 16th byte on, two big-endian numbers, the width first."""
    digits = tf.io.decode_raw(tf.strings.substr(file, 16, 8), tf.uint8)
    values = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.reverse(tf.reduce_sum(tf.reshape(tf.cast(digits, tf.int64), [2, 4]) * values, 1), [0])


# ---- requests that a server replays before it takes others


def write_warm_up(
    folder: Path, signatures: Mapping[str, Sequence[tf.TensorSpec]], size: tuple[int, int], stride: int
) -> None:
    """Write assets.extra/tf_serving_warmup_requests: for each signature a request of one frame, on the model's canvas.

    Args:
        folder: of the SavedModel.
        signatures: the specs of each one's inputs.
        size: of the canvas, (height, width).
        stride: pixels of a frame per cell of a feature map.
    """
    place = folder / "assets.extra"
    place.mkdir()
    with tf.io.TFRecordWriter(str(place / "tf_serving_warmup_requests")) as writer:
        for signature, specs in signatures.items():
            writer.write(_prediction_log(signature, {spec.name: _example(spec, size, stride) for spec in specs}))


def _example(spec: tf.TensorSpec, size: tuple[int, int], stride: int) -> TensorProto:
    """A TensorProto of one grey frame, maps of such features, or no motion of characters that are shown."""
    if spec.name == "motion":
        still = tf.constant([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        return tf.make_tensor_proto(tf.broadcast_to(still, (1, *spec.shape[1:])).numpy())
    if spec.name == "shown":
        return tf.make_tensor_proto(1.0, tf.float32, (1, *spec.shape[1:]))
    if spec.dtype == tf.string:
        return tf.make_tensor_proto([tf.io.encode_png(tf.fill((*size, 3), tf.constant(128, tf.uint8))).numpy()])
    height, width = (-(-side // stride) for side in size) if spec.name.endswith("features") else size
    shape = (1, *spec.shape[1:-3], height, width, spec.shape[-1])
    return tf.make_tensor_proto(0.5, tf.float32, shape)  # one number fills the tensor


def _prediction_log(signature: str, inputs: Mapping[str, TensorProto]) -> bytes:
    """The message tensorflow.serving.PredictionLog of one request, without that package: an export must not need it."""
    model_spec = _field(3, signature.encode())
    entries = [
        _field(2, _field(1, name.encode()) + _field(2, tensor.SerializeToString())) for name, tensor in inputs.items()
    ]
    return _field(6, _field(1, _field(1, model_spec) + b"".join(entries)))


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer; the number is below 16."""
    length, digits = len(payload), []
    while length > 127:
        digits.append(length % 128 + 128)
        length //= 128
    return bytes([number * 8 + 2, *digits, length]) + payload
