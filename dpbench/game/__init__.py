"""One cell of a study: what is trained, released, observed, attacked and evaluated."""
