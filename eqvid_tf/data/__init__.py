"""Clips: readers, the cache of decoded frames, pairs for training, and writers of pictures and videos."""
