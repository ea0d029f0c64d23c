"""Pictures and coordinates: resampling, morphology, medians, least squares, canvas and boxes, contact sheets."""
