"""Count and time the parts of training steps, beside what the machine could do at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from biglearn_gan.config import Config
from biglearn_gan.devices import make_accelerator
from biglearn_gan.training.throughput import random_images
from biglearn_gan.training.trainer import Trainer

MACHINE_SECONDS = 1.0
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}
COPIED_BYTES = 2**28
DATA_IMAGES = 2048


@dataclass(frozen=True)
class Machine:
    """What a device can do at best.

    Attributes:
        peak: floating-point operations per second of a large matrix product.
        bandwidth: bytes per second, read and written, of copying memory that no cache can hold.
    """

    peak: float
    bandwidth: float

    def attainable_seconds(self, kernel: Kernel) -> float:
        """The shortest time of a kernel (the roofline model, Williams et al. 2009)."""
        return max(kernel.operations / self.peak, kernel.size / self.bandwidth)


def measure_machine(device: torch.device) -> Machine:
    """The best of repeated measurements, in float32."""
    size = PEAK_SIZE.get(device.type, PEAK_SIZE["cpu"])
    a = torch.randn(size, size, device=device)
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device=device)
    copy = torch.zeros_like(source)
    product_seconds = shortest(lambda: a @ a, device)
    copy_seconds = shortest(lambda: copy.copy_(source), device)
    return Machine(2 * size**3 / product_seconds, 2 * COPIED_BYTES / copy_seconds)


def shortest(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the fastest of many calls."""
    best = timed(work, device)
    deadline = time.perf_counter() + MACHINE_SECONDS
    while time.perf_counter() < deadline:
        best = min(best, timed(work, device))
    return best


@dataclass(frozen=True)
class Kernel:
    """An operation that PyTorch dispatched.

    Attributes:
        size: bytes that it reads and writes.
        operations: floating-point operations of a matrix product; 0 for anything else.
    """

    size: int
    operations: int


class StepCounter(TorchDispatchMode):
    """Counts what runs in its context, second derivatives included.

    PyTorch's fused attention on CPUs is a kernel, but not counted as a matrix product.

    Attributes:
        kernels: operations that compute or copy something; views do not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[Kernel] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            count = flop_registry.get(func._overloadpacket)
            operations = count(*args, **(kwargs or {}), out_val=result) if count else 0
            self.kernels.append(Kernel(size_in_bytes((args, kwargs, result)), operations))
        return result

    @property
    def operations(self) -> int:
        """Floating-point operations of all matrix products."""
        return sum(kernel.operations for kernel in self.kernels)

    def attainable_seconds(self, machine: Machine) -> float:
        """The shortest time of all matrix products."""
        products = (kernel for kernel in self.kernels if kernel.operations)
        return sum(machine.attainable_seconds(product) for product in products)


def size_in_bytes(tree: Any) -> int:
    """Bytes of all tensors in nested tuples, lists, and dictionaries."""
    return sum(leaf.nbytes for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


class Stopwatch:
    """Measures the time spent in methods of objects, until :meth:`stop`."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self._device = device
        self._watched: list[tuple[Any, str]] = []

    def watch(self, method: Callable[..., Any], name: str) -> None:
        """Time every call of a bound method under ``name``."""
        owner: Any = method.__self__  # type: ignore[attr-defined]
        self.seconds[name] = 0.0

        def measured(*arguments: Any, **options: Any) -> Any:
            result: list[Any] = []
            spent = timed(lambda: result.append(method(*arguments, **options)), self._device)
            self.seconds[name] += spent
            return result[0]

        setattr(owner, method.__name__, measured)
        self._watched.append((owner, method.__name__))

    def stop(self) -> None:
        """Restore the methods."""
        for owner, method in self._watched:
            delattr(owner, method)


def random_trainer(config: Config, device: str) -> Trainer:
    """A trainer on random images that never finishes."""
    accelerator = make_accelerator(device)
    dataset = random_images(config, DATA_IMAGES, accelerator.device)
    return Trainer(config, dataset, accelerator, max_images=10**9)


def train_steps(trainer: Trainer, steps: int) -> None:
    """Train for a number of steps."""
    for _ in range(steps):
        trainer.step()


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time in seconds; waits for the device before and after."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait until a CUDA device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def busy_share(work: Callable[[], Any], device: torch.device) -> float:
    """Share of the time in which a CUDA device computes; the rest of it waits for the CPU."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        seconds = timed(work, device)
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / seconds


def memory_mib(device: torch.device) -> int:
    """Resident memory of this process; on CUDA, the most that tensors have taken."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    return psutil.Process().memory_info().rss // 2**20
