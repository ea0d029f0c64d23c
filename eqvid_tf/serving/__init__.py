"""Serving: the SavedModel and its requests, a client, and the transports that it speaks."""

from eqvid_tf.serving.client import Client
from eqvid_tf.serving.transports import ServingError, Unavailable

__all__ = ["Client", "ServingError", "Unavailable"]
