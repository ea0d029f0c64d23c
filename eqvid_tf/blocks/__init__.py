"""What `core` is built of: a U-Net and bare networks, the sampler's bilinear kernel, the gain of an exposure.

A reader of the equation needs to know what they do, not how.
"""
