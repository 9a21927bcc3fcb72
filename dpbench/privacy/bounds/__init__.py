"""Bounds on attacks that follow from a guarantee in a game."""
