"""From a clip and a model to the clip's layers at its own size, in stages (see `eqvid_tf.separation.layers`)."""
