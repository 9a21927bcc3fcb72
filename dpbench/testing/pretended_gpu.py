"""A GPU that is not there: tensors of the CPU that claim to be on one.

Inside `PretendedGpu`, what is made on or moved to `cuda` is computed by the CPU, with the CPU's
random numbers, so results must be those of the CPU, bit for bit. What a real GPU would refuse is an
error here, too: tensors or generators of both sides in one operation, and arrays of numpy over a
tensor there. What a real GPU would have to be waited for is counted: copies to the CPU, numbers
that Python reads, and shapes that depend on values.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
_aten = torch.ops.aten
_SHAPED_BY_VALUES = {
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten._unique2.default,
    _aten.unique_dim.default,
    _aten.repeat_interleave.Tensor,
    _aten.bincount.default,
}
_READ = {_aten._local_scalar_dense.default, _aten.equal.default, _aten.is_nonzero.default}
_COPIES = {_aten.copy_.default, _aten._to_copy.default}
_TO_NUMPY: tuple[Any, ...] = (Tensor.numpy, Tensor.__array__)
_DEVICE: Any = Tensor.__dict__.get("device", torch._C.TensorBase.device)
_IS_CUDA: Any = Tensor.__dict__.get("is_cuda", torch._C.TensorBase.is_cuda)


class Mixed(AssertionError):
    """Something of the CPU and something of the GPU met."""


class Generator(torch.Generator):
    """A generator that remembers where it is said to be."""

    where: torch.device

    def __new__(cls, device: Any = CPU) -> "Generator":
        """Makes a generator of the CPU."""
        made: Generator = super().__new__(cls, "cpu")  # type: ignore[call-arg]
        made.where = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it is said to be."""
        return self.where


class _Memory:
    """Which memory is on the pretended GPU."""

    def __init__(self) -> None:
        # Kept alive, so that no address is used twice.
        self._kept: dict[int, torch.UntypedStorage] = {}

    def holds(self, tensor: Tensor) -> bool:
        return _plain(tensor).untyped_storage()._cdata in self._kept

    def take(self, value: Any) -> Any:
        for tensor in tree_flatten(value)[0]:
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                storage = _plain(tensor).untyped_storage()
                self._kept[storage._cdata] = storage
        return value


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows memory through every operation, those of backward passes and of vmap included."""

    def __init__(self, memory: _Memory, waits: Counter[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._memory, self._waits = memory, waits
        self.inside = False  # of a function on the GPU: what it makes up itself is there, too

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
        there = [part for part in flat if self._memory.holds(part)]
        if there and func not in _COPIES:
            # Single numbers may be on either side.
            here = [part for part in flat if part.dim() > 0 and not self._memory.holds(part)]
            if here:
                raise Mixed(f"{func}: {[tuple(p.shape) for p in here]} on the CPU, others not")
            if func in _READ or func in _SHAPED_BY_VALUES or _indexed_by_bits(func, flat):
                self._waits[str(func)] += 1
        if there and func is _aten.copy_.default and len(there) < len(flat):
            self._waits["copy to the GPU" if flat[0] is there[0] else "copy to the CPU"] += 1
        result = func(*args, **kwargs or {})
        made_up = self.inside and not flat
        if made_up or (there and not (func is _aten.copy_.default and flat[0] is not there[0])):
            self._memory.take(result)
        return result


class PretendedGpu(TorchFunctionMode):
    """What `cuda` means inside.

    Attributes:
        waits: How often a real GPU would have been waited for, by the reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self._memory, self.waits = _Memory(), Counter[str]()
        self.operations = _Operations(self._memory, self.waits)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        on_gpu = bool(args) and self._is_there(args[0])
        if func == _DEVICE.__get__:
            return CUDA if on_gpu else func(*args)
        if func == _IS_CUDA.__get__:
            return on_gpu
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._moved(func, args, kwargs, on_gpu)
        if on_gpu and func in _TO_NUMPY:
            raise Mixed("numpy cannot see what is on the GPU")
        if on_gpu and func is Tensor.tolist:
            self.waits["tolist"] += 1
        if func is torch.nn.functional.one_hot and on_gpu:
            return self._one_hot(*args, **kwargs)
        asked = kwargs.get("device", CUDA if on_gpu and func is Tensor.new_tensor else None)
        generator = kwargs.get("generator")
        if generator is not None:
            where = asked if asked is not None else CUDA if on_gpu else CPU
            if torch.device(where).type != generator.device.type:
                raise Mixed(f"{func}: a generator on {generator.device} for {where}")
        if asked is not None and torch.device(asked).type == "cuda":
            return self._memory.take(func(*args, **kwargs | {"device": CPU}))
        before = self.operations.inside
        self.operations.inside = before or any(map(self._is_there, tree_flatten(args)[0]))
        try:
            return func(*args, **kwargs)
        finally:
            self.operations.inside = before

    def _is_there(self, value: Any) -> bool:
        return isinstance(value, Tensor) and self._memory.holds(value)

    def _one_hot(self, labels: Tensor, num_classes: int = -1) -> Tensor:
        """As a GPU does it, which looks at the labels only if it must."""
        num_classes = int(labels.max()) + 1 if num_classes < 0 else num_classes
        result = labels.new_zeros(*labels.shape, num_classes)
        return result.scatter_(-1, labels[..., None], 1)

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any], on_gpu: bool) -> Tensor:
        tensor, *rest = args
        target = CUDA if on_gpu else CPU
        if func is not Tensor.to:
            target, rest, kwargs = (CPU if func is Tensor.cpu else CUDA), [], {}
        elif rest and isinstance(rest[0], Tensor):
            target = CUDA if self._is_there(rest[0]) else CPU
            rest = [rest[0].dtype, *rest[1:]]
        else:
            asked = next((p for p in rest if isinstance(p, str | torch.device)), None)
            asked = kwargs.pop("device", asked)
            rest = [p for p in rest if isinstance(p, torch.dtype)]
            target = target if asked is None else torch.device(asked)
        moves = (target.type == "cuda") != on_gpu
        if moves:
            self.waits[f"copy to the {'GPU' if target.type == 'cuda' else 'CPU'}"] += 1
            with _without(self.operations):
                tensor = tensor.clone()
        if rest or kwargs:
            tensor = tensor.to(*rest, **kwargs)
        if target.type == "cuda":
            self._memory.take(tensor)
        result: Tensor = tensor
        return result


@contextmanager
def pretended_gpu() -> Iterator[PretendedGpu]:
    """Lets `cuda` mean a GPU that is not there."""
    gpu, register = PretendedGpu(), nn.Module.register_full_backward_hook

    def registered(module: nn.Module, hook: Callable[..., Any], *how: Any, **more: Any) -> Any:
        def inside(*seen: Any) -> Any:
            with gpu:  # torch leaves function modes while it goes backward
                return hook(*seen)

        return register(module, inside, *how, **more)

    with (
        mock.patch.object(torch, "Generator", Generator),
        mock.patch.object(nn.Module, "register_full_backward_hook", registered),
        gpu,
        gpu.operations,
    ):
        yield gpu


@contextmanager
def _without(operations: _Operations) -> Iterator[None]:
    before, operations._memory = operations._memory, _Memory()
    try:
        yield
    finally:
        operations._memory = before


def _plain(tensor: Tensor) -> Tensor:
    """Returns the tensor behind those that vmap and grad hand out."""
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor


def _indexed_by_bits(func: Any, tensors: list[Tensor]) -> bool:
    names = (_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default)
    return func in names and any(part.dtype == torch.bool for part in tensors[1:])
