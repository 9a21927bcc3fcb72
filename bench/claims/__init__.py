"""The claims study: published statements about attacks and defenses, checked on real data."""
