"""Running grids: what to do, what is done, and who does it."""
