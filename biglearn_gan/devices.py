"""Devices by the names that people give."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from biglearn_gan.errors import UsageError


class DeviceError(UsageError):
    """This machine has no such device, in one sentence."""


def usable_device(name: str) -> torch.device:
    """The device of that name (``auto``: the best one here), after a first number on it.

    Raises:
        DeviceError: this machine has no such device.
    """
    try:
        device = torch.device(_devices_here()[-1] if name == "auto" else name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise _no_device(name) from None
    return device


def make_accelerator(device: str) -> Accelerator:
    """accelerate's view of the device and the processes.

    Raises:
        DeviceError: the device is not on this machine.
    """
    if device not in ("auto", *_devices_here()):
        raise _no_device(device)
    return Accelerator(cpu=device == "cpu" or _devices_here() == ("cpu",))


def _devices_here() -> tuple[str, ...]:
    """Kinds of devices of this machine, the best one last."""
    others = {"mps": torch.backends.mps.is_available(), "cuda": torch.cuda.is_available()}
    return ("cpu", *(name for name, there in others.items() if there))


def _no_device(name: str) -> DeviceError:
    names = ", ".join(("auto", *_devices_here()))
    return DeviceError(f"this machine has no device {name!r}: choose one of {names}")
