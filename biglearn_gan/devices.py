"""Devices by the names that people give."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from biglearn_gan.config import ConfigError


def usable_device(name: str) -> torch.device:
    """The device of that name, after a first number on it.

    Raises:
        ConfigError: this machine has no such device.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError):
        raise ConfigError([f"--device: {name!r} is not a device of this machine"]) from None
    return device


def make_accelerator(device: str) -> Accelerator:
    """accelerate's view of the device and the processes.

    Raises:
        ConfigError: the device is not on this machine.
    """
    there = {
        "auto": True,
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device not in there:
        raise ConfigError([f"unknown device {device!r}: choose one of {', '.join(there)}"])
    if not there[device]:
        raise ConfigError([f"this machine has no device {device!r}"])
    on_cpu = device == "cpu" or not (there["cuda"] or there["mps"])
    return Accelerator(cpu=on_cpu)
