"""Clips, frame pairs and drawn scenes: frames in, `tf.data` out; knows nothing of models."""
