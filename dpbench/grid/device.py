"""Where models are trained and asked: on the processor, or on a GPU for each worker."""

import os

from dpbench.errors import UserError


def require_known_device(device: str) -> None:
    """Makes sure that a device is one that workers can be told.

    Raises:
        UserError: It is not; `cuda:1`, say, is said by the variable that CUDA itself reads, since
            each worker sees its own GPU only.
    """
    if device in ("cpu", "cuda"):
        return
    kind, _, number = device.partition(":")
    chosen = f"CUDA_VISIBLE_DEVICES={number} and --device cuda" if kind == "cuda" else ""
    raise UserError(
        f"--device {device} is not valid",
        allowed="cpu, cuda (workers take turns on the visible GPUs)",
        next_step=chosen and f"for that GPU alone: {chosen}",
    )


def require_device(device: str) -> None:
    """Makes sure that torch can compute on a device on this machine.

    Raises:
        UserError: It cannot.
    """
    require_known_device(device)
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device found on this machine", allowed="cpu")


def environment_for(device: str, number: int) -> dict[str, str]:
    """Returns what a worker's environment needs so that it sees its GPU and no other.

    Args:
        device: cpu or cuda.
        number: The worker's number on this machine; workers go round the GPUs.
    """
    gpus = _visible_gpus() if device == "cuda" else []
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}


def _visible_gpus() -> list[str]:
    """Returns the names of the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in map(str.strip, chosen.split(",")) if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
