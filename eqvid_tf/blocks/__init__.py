"""What `core` is built of: U-Net, bare networks, the sampler's bilinear kernel, an exposure's gain, a look at batches.

A reader of the equation needs to know what they do, not how.
"""
