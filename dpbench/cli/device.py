"""Checking --device before anything is computed."""

from dpbench.errors import UserError


def require_device(device: str) -> None:
    """Makes sure that torch can compute on a device.

    Raises:
        UserError: It cannot.
    """
    import torch

    cuda = torch.cuda.is_available()
    if device != "cpu" and not (device.startswith("cuda") and cuda):
        raise UserError(
            f"--device {device} is not available",
            allowed="cpu" + (", cuda" if cuda else " (no CUDA device found)"),
        )
