"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from biglearn_gan.devices import DeviceError, usable_device


@pytest.mark.parametrize(
    ("available", "best"), [((), "cpu"), (("mps",), "mps"), (("mps", "cuda"), "cuda")]
)
def test_auto_is_the_best_available_device(
    available: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in available)
    monkeypatch.setattr(torch, "zeros", lambda *_, device: torch.empty(1))
    assert usable_device("auto") == torch.device(best)
    names = ", ".join(("auto", "cpu", *available))
    with pytest.raises(DeviceError, match=f"choose one of {names}$"):
        usable_device("abacus")
