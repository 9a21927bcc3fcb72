"""Benchmarks and studies: speed as ratios in one run, and how the tuned settings were found."""
