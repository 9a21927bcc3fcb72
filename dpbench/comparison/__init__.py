"""A new defense beside the baselines of a finished run, at equal accuracy and at equal leak."""
