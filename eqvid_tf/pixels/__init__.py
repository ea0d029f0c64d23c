"""Pictures and coordinates in numpy: resampling, morphology, medians, least squares, canvas and boxes, contact sheets."""
