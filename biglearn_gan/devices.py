"""Devices by name: ``auto``, ``cpu``, ``cuda`` or ``mps``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from torch import Tensor

from biglearn_gan.errors import UsageError


class DeviceError(UsageError):
    """This machine has no such device."""


def usable_device(name: str) -> torch.device:
    """The device of that name, after computing one number on it.

    Args:
        name: a torch device such as ``cpu`` or ``cuda:1``, or ``auto`` for the best one here.

    Raises:
        DeviceError: this machine has no such device.
    """
    try:
        device = torch.device(_available_kinds()[-1] if name == "auto" else name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise _unavailable(name) from None
    return device


def make_accelerator(device: str) -> Accelerator:
    """The device and the processes of this run, as accelerate sees them.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        DeviceError: this machine has no such device.
    """
    if device not in ("auto", *_available_kinds()):
        raise _unavailable(device)
    if torch.distributed.is_available():
        # Functions of this module have the process group as a default argument. If it is imported
        # after the group is made (by an optimizer), the group's threads survive its destruction,
        # and can abort the interpreter when it exits.
        importlib.import_module("torch.distributed.nn.functional")
    return Accelerator(cpu=device == "cpu" or _available_kinds() == ("cpu",))


@contextmanager
def tf32_products(enabled: bool) -> Iterator[None]:
    """Whether CUDA rounds the inputs of float32 matrix products to TF32; other devices do not."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def copy_to(value: Tensor, device: torch.device) -> Tensor:
    """The tensor on ``device``; from the CPU to CUDA without waiting for what is computed there."""
    if device.type == "cuda" and value.device.type == "cpu":
        return value.pin_memory().to(device, non_blocking=True)
    return value.to(device)


def _available_kinds() -> tuple[str, ...]:
    """Kinds of devices of this machine, the best one last."""
    others = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return ("cpu", *(name for name, available in others.items() if available))


def _unavailable(name: str) -> DeviceError:
    names = ", ".join(("auto", *_available_kinds()))
    return DeviceError(f"this machine has no device {name!r}: choose one of {names}")
