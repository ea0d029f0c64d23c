"""What a served request carries: its inputs checked, pictures as encoded bytes, and the requests that warm a server up.

All of it runs in the SavedModel's graph, in stock ops: a server without Python answers a bad request with one of these errors.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from eqvid_tf.serving.transports import LARGEST

FLATTEST = 1e-6  # a motion with a smaller determinant is none (affine.check_motion)
TOO_LARGE = f"the pictures of a request may have at most {LARGEST} pixels together; received [height, width]"


def guarded(function, inputs: list[tf.TensorSpec]):
    """`function` of a signature's inputs, in their order, with the request refused where they are not what they must be."""
    return lambda *values: function(*checked(inputs, values))


def checked(inputs: list[tf.TensorSpec], values: tuple) -> list:
    """The inputs of a signature, whose reading ends in an error unless all are of their shapes, of one batch, and finite."""
    values = [tf.ensure_shape(value, spec.shape) for spec, value in zip(inputs, values)]
    counts = tf.stack([tf.shape(value)[0] for value in values])
    filled = tf.reduce_all(tf.stack([tf.size(value) > 0 for value in values]))
    text = f"{', '.join(spec.name for spec in inputs)}: expected the same number of each, at least one, none empty; received"
    with tf.control_dependencies([tf.debugging.Assert(filled & tf.reduce_all(counts == counts[0]), [text, counts])]):
        return [checked_input(value, spec) for spec, value in zip(inputs, values)]


def checked_input(value, spec: tf.TensorSpec):
    """An input, if its numbers are finite and, of a motion, can be inverted."""
    if spec.dtype == tf.string:
        return tf.identity(value)
    value = tf.debugging.check_numerics(value, f"{spec.name} must be finite")
    return invertible(value) if spec.name == "motion" else value


def invertible(motion):
    """Motions [B, 2, 3], or an error."""
    a, b, c, d = motion[:, 0, 0], motion[:, 0, 1], motion[:, 1, 0], motion[:, 1, 1]
    good = tf.reduce_all(tf.abs(a * d - b * c) >= FLATTEST)
    with tf.control_dependencies(
        [tf.debugging.Assert(good, ["motion must be invertible; received a determinant of 0"])]
    ):
        return tf.identity(motion)


def decode_pictures(pictures):
    """PNG or JPEG files [B] as frames [B, H, W, 3] in [0, 1]. All of one size, at most LARGEST pixels together."""
    sizes = tf.map_fn(size_of, pictures, fn_output_signature=tf.TensorSpec((2,), tf.int32))
    text = "expected pictures of one size; received [height, width]"
    alike = tf.debugging.Assert(tf.reduce_all(sizes == sizes[:1]), [text, sizes])
    few = tf.reduce_sum(tf.reduce_prod(tf.cast(sizes, tf.int64), 1)) <= LARGEST
    with tf.control_dependencies([alike, tf.debugging.Assert(few, [TOO_LARGE, tf.shape(pictures), sizes])]):
        pictures = tf.identity(pictures)
    decode = lambda picture: tf.io.decode_image(picture, channels=3, expand_animations=False)
    frames = tf.map_fn(decode, pictures, fn_output_signature=tf.TensorSpec((None, None, 3), tf.uint8))
    return tf.cast(frames, tf.float32) / 255


def size_of(picture):
    """(height, width) that a PNG's or a JPEG's header claims, or an error: nothing is made room for before that."""
    begins = lambda magic: tf.strings.substr(picture, 0, len(magic)) == magic
    png, jpeg = begins(b"\x89PNG\r\n\x1a\n"), begins(b"\xff\xd8\xff")
    text = "expected the bytes of a PNG or a JPEG file; received as many bytes of something else:"
    with tf.control_dependencies(
        [tf.debugging.Assert((png & (tf.strings.length(picture) > 32)) | jpeg, [text, tf.strings.length(picture)])]
    ):
        picture = tf.identity(picture)
    size = tf.cond(
        png, lambda: header_of_png(picture), lambda: tf.cast(tf.image.extract_jpeg_shape(picture)[:2], tf.int64)
    )
    small = tf.reduce_all((size > 0) & (size <= LARGEST)) & (tf.reduce_prod(size) <= LARGEST)
    with tf.control_dependencies([tf.debugging.Assert(small, [TOO_LARGE, tf.strings.as_string(size)])]):
        return tf.cast(size, tf.int32)


def header_of_png(picture):
    """(height, width) int64 of a PNG file's header: two big-endian numbers from its 16th byte on."""
    numbers = tf.io.decode_raw(tf.strings.substr(picture, 16, 8), tf.uint8)
    places = tf.constant([2**24, 2**16, 2**8, 1], tf.int64)
    return tf.reverse(tf.reduce_sum(tf.reshape(tf.cast(numbers, tf.int64), [2, 4]) * places, 1), [0])


def encode_pictures(frames):
    """Frames [B, H, W, 3] in [0, 1] as PNG files [B]."""
    return tf.io.encode_png(tf.cast(tf.round(frames * 255), tf.uint8), compression=1)


# ---- requests that a server replays before it takes others


def write_warm_up(folder: Path, endpoints: dict, size: tuple[int, int], stride: int) -> None:
    """Writes assets.extra/tf_serving_warmup_requests: a request of one frame for each signature, of the size it is best at."""
    place = folder / "assets.extra"
    place.mkdir()
    with tf.io.TFRecordWriter(str(place / "tf_serving_warmup_requests")) as writer:
        for signature, (_, inputs) in endpoints.items():
            writer.write(prediction_log(signature, {spec.name: example(spec, size, stride) for spec in inputs}))


def example(spec: tf.TensorSpec, size: tuple[int, int], stride: int):
    """A TensorProto of one grey frame, one map of such features, or no motion."""
    if spec.name == "motion":
        return tf.make_tensor_proto([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], tf.float32)
    if spec.dtype == tf.string:
        return tf.make_tensor_proto([tf.io.encode_png(tf.fill((*size, 3), tf.constant(128, tf.uint8))).numpy()])
    if spec.name.endswith("features"):
        size = [-(-side // stride) for side in size]
    return tf.make_tensor_proto(0.5, tf.float32, (1, *size, spec.shape[-1]))  # one number, which fills the tensor


def prediction_log(signature: str, inputs: dict) -> bytes:
    """The message tensorflow.serving.PredictionLog, whose package an export must not need: a predict_log with one request."""
    specification = field(3, signature.encode())
    entries = [
        field(2, field(1, name.encode()) + field(2, tensor.SerializeToString())) for name, tensor in inputs.items()
    ]
    return field(6, field(1, field(1, specification) + b"".join(entries)))


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protocol buffer, of a number below 16."""
    length, digits = len(payload), []
    while length > 127:
        digits.append(length % 128 + 128)
        length //= 128
    return bytes([number * 8 + 2, *digits, length]) + payload
