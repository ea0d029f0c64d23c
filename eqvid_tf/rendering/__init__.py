"""New pictures: shots, videos, and a character's walk cycle."""
