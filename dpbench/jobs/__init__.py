"""Content-addressed work: jobs, their keys, the store, and the workers that run them."""
