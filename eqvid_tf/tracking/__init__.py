"""Who moves with whom: what moves in a clip, told apart into characters (see `eqvid_tf.tracking.characters`)."""
