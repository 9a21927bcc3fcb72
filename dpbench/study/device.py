"""Where models are trained and queried: on the processor, or on a GPU."""

from dpbench.errors import UserError
from dpbench.jobs.gpus import require_known_device


def require_device(device: str) -> None:
    """Makes sure that torch can compute on a device on this machine.

    Raises:
        UserError: It cannot.
    """
    require_known_device(device)
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device found on this machine", allowed="cpu")
