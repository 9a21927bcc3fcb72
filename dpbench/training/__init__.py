"""Training engines: a task in, the weights of K models out."""
