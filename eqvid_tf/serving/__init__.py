"""Serving: the SavedModel and its requests, a client of a server, and the transports to it."""

from eqvid_tf.serving.client import Client
from eqvid_tf.serving.transports import ServingError, Unavailable

__all__ = ["Client", "ServingError", "Unavailable"]
