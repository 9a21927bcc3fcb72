"""Training engines: a task in, the weights of K models out."""

from dpbench.training.fit import fit as fit
from dpbench.training.fit import logits as logits
from dpbench.training.fit import predict as predict
