"""Assigns devices to workers: the CPU, or one GPU for each worker."""

import os
import shutil
import subprocess

from dpbench.errors import UserError


def require_known_device(device: str) -> None:
    """Checks that workers can be given a device.

    Raises:
        UserError: The device is neither `cpu` nor `cuda`. A single GPU such as `cuda:1` is selected
            by CUDA_VISIBLE_DEVICES, since each worker sees only its own GPU.
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


def environment_for(device: str, number: int) -> dict[str, str]:
    """Returns the environment variables that show a worker its own GPU and no other.

    Args:
        device: cpu or cuda.
        number: The worker's number on this machine; workers take turns on the GPUs.
    """
    gpus = _visible_gpus() if device == "cuda" else []
    return {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}


def _visible_gpus() -> list[str]:
    """Returns the names of the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    # An empty variable hides every GPU; an unset one hides none.
    if chosen is not None:
        return [name for name in map(str.strip, chosen.split(",")) if name]
    return [str(number) for number in range(_listed_gpus())]


def _listed_gpus() -> int:
    """Counts the GPUs that the driver's own tool lists; torch is not imported to start workers."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    return len(listed.stdout.splitlines())
