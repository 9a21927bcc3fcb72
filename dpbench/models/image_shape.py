"""What an image network demands of its inputs."""

from dpbench.errors import UserError


def image_shape(shape: tuple[int, ...], *, model: str, smallest: int = 1) -> tuple[int, int, int]:
    """Returns (channels, height, width).

    Raises:
        UserError: The inputs are not images, or a side is shorter than `smallest` pixels.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise UserError(
            f"model.name: '{model}' cannot take inputs of shape {shape}",
            allowed=f"(channels, height, width) with sides of at least {smallest}",
            next_step="use mlp or softmax for tables",
        )
    return shape[0], shape[1], shape[2]
