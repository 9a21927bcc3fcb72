"""Networks by name. None has BatchNorm, in-place activations or hidden randomness."""

from dpbench.models.base import Architecture
from dpbench.models.cnn import CNN
from dpbench.models.mlp import MLP
from dpbench.models.resnet import ResNet
from dpbench.models.softmax import Softmax
from dpbench.models.torchvision import Torchvision

__all__ = ["CNN", "MLP", "Architecture", "ResNet", "Softmax", "Torchvision"]
