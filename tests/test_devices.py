"""Devices by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from biglearn_gan.config import Config
from biglearn_gan.devices import DeviceError, tf32_products, usable_device
from biglearn_gan.models.factory import build_networks
from biglearn_gan.models.transformer import twice_differentiable_attention
from biglearn_gan.tasks.token_masks import TokenMasks
from biglearn_gan.training.fit import fit
from biglearn_gan.training.losses import exact_penalty


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


@pytest.mark.parametrize("enabled", [True, False])
def test_tf32_is_set_while_training_and_restored(
    enabled: bool, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    seen = []
    with tf32_products(not enabled):
        fit(
            tiny_config({"train.max_images": 8, "train.tf32": enabled}),
            tmp_path,
            device="cpu",
            on_progress=lambda _: seen.append(torch.backends.cuda.matmul.allow_tf32),
        )
        assert torch.backends.cuda.matmul.allow_tf32 is not enabled
    assert seen
    assert set(seen) == {enabled}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="TF32 needs a CUDA GPU")
def test_penalties_in_tf32_are_those_in_float32(tiny_config: Callable[..., Config]) -> None:
    """Inputs are rounded to 10 bits of mantissa, so penalties may differ by about 1%."""
    config = tiny_config({"model.discriminator.depth": 3})
    torch.manual_seed(0)
    _, discriminator = build_networks(config)
    discriminator.cuda()
    target = torch.ones(64, config.token_count, dtype=torch.bool)
    sequence = TokenMasks(~target, target).sequence().to(torch.device("cuda"))
    tokens = torch.randn(64, config.token_count, config.token_dim, device="cuda")

    def penalties(enabled: bool) -> torch.Tensor:
        samples = tokens.clone().requires_grad_()
        with tf32_products(enabled), twice_differentiable_attention():
            logits = discriminator(samples, sequence)
            return exact_penalty(logits, samples, sequence.generated_values).detach()

    torch.testing.assert_close(penalties(True), penalties(False), rtol=0.05, atol=0)
    torch.testing.assert_close(penalties(True).mean(), penalties(False).mean(), rtol=0.01, atol=0)
