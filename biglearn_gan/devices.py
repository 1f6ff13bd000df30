"""Devices by the names that people give."""

from __future__ import annotations

import torch

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
