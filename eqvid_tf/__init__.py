"""Equivariant video models: take a clip apart into a character, a background and a motion."""
