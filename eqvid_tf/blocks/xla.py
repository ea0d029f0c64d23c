"""Whether XLA compiles what is being traced: it lacks some kernels, and knows every size."""

from __future__ import annotations

import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext  # TensorFlow has no public name for it


def compiled_by_xla() -> bool:
    """Whether the function that is being traced has `jit_compile`, as under `compile(jit_compile=True)`."""
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
