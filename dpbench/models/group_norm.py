"""The normalisation of every convolutional network here."""

from torch import nn

# De et al. 2022 (arXiv:2204.13650) train their private networks with 16 groups.
_GROUPS = 16


def group_norm(channels: int) -> nn.GroupNorm:
    """Returns GroupNorm with at most 16 groups, each of at least two channels.

    A group of one channel would erase what a channel carries wherever a feature map has one pixel.
    """
    most = max(1, min(_GROUPS, channels // 2))
    groups = next(count for count in range(most, 0, -1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)
