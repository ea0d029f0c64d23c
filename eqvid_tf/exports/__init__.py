"""What leaves for other programs: videos of layers, sprite sheets, Lottie files, and a scene as one page."""
