"""Bounds: what a guarantee allows an attack in a game."""
