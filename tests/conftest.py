"""What the tests of networks and training share: small models, data and tasks.

Sizes of different axes are distinct primes where they can be, so that a swapped axis cannot pass.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch

from biglearn_gan.config import Config, parse_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.tasks.token_masks import TokenMasks

TINY: dict[str, Any] = {
    "data": {"name": "digits", "image_size": 8, "channels": 1},
    "tasks": {"preset": "big"},
    "model": {
        "patch_size": 2,
        "generator": {
            "width": 20,
            "depth": 1,
            "heads": 2,
            "latent_dim": 28,
            "token_noise_dim": 8,
        },
        "discriminator": {"width": 20, "depth": 1, "heads": 2},
    },
    "train": {
        "batch_size": 4,
        "max_images": 48,
        "warm_start": {"share": 0.25},
        "learning_rate": {"warmup_images": 8},
        "ema_half_life_images": 23.0,
    },
    "logging": {
        "log_images": 8,
        "grid_images": 1000,
        "checkpoint_images": 1000,
        "evaluation_time_share": 0.0,
        "tensorboard": False,
    },
}
"""digits in 4 x 4 tokens of 2 x 2 pixels, 12 steps of 4 images, of which 3 are the warm start.

The generator's sizes are multiples of 4: at others below 16, the last bit of a matrix product can
depend on where a row stands in it (seen with MKL), and completions are compared exactly.
"""


@pytest.fixture(autouse=True)
def reproducible() -> None:
    """Every test starts from the same global seed, on one thread (faster, for tiny networks)."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept in the user's cache, nor read from it."""
    cache = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("BIGLEARN_GAN_CACHE", str(cache / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))
    if "datasets" in sys.modules:  # which reads the variable when it is imported
        settings = sys.modules["datasets"].config
        monkeypatch.setattr(settings, "HF_DATASETS_CACHE", cache / "datasets")


@pytest.fixture
def float64() -> Iterator[None]:
    """Numbers, weights and noise of the test are in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users run the package: no shape is checked but by the package itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tiny_values() -> Callable[..., dict[str, Any]]:
    """The plain values of a tiny configuration, after changes like ``{"loss.logistic": 1.0}``."""

    def values(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        result = copy.deepcopy(TINY)
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            here = result
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = value
        return result

    return values


@pytest.fixture(scope="session")
def tiny_config(tiny_values: Callable[..., dict[str, Any]]) -> Callable[..., Config]:
    """A tiny configuration after changes."""
    return lambda changes=None: parse_config(tiny_values(changes))


@pytest.fixture(scope="session")
def oblong_config(tiny_config: Callable[..., Config]) -> Config:
    """RGB images of 6 x 10 pixels in 3 x 5 tokens of 12 values."""
    return tiny_config(
        {
            "data": {
                "name": "folder",
                "root": "/home/somebody/x",
                "image_size": [6, 10],
                "channels": 3,
            }
        }
    )


@pytest.fixture
def tiny_dataset() -> ImageDataset:
    """37 images of 8 x 8 pixels, each with a bright half of its own."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 80, (37, 1, 8, 8), generator=rng, dtype=torch.uint8)
    pixels[::2, :, :4] += 150
    pixels[1::2, :, 4:] += 150
    return ImageDataset("tiny:train", pixels)


@pytest.fixture
def draw_masks() -> Callable[..., TokenMasks]:
    """Draw masks of ``rows`` x ``length`` tokens with ``present`` present tokens in every row."""

    def draw(rows: int, length: int, present: int, seed: int = 0) -> TokenMasks:
        rng = torch.Generator().manual_seed(seed)
        order = torch.rand(rows, length, generator=rng).argsort(dim=1)
        union = order < present
        target = union & (torch.rand(rows, length, generator=rng) < 0.5)
        target |= order == 0  # at least one target
        target &= order != 1  # and, where two are present, one source
        return TokenMasks(union & ~target, target)

    return draw


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of pytorch-fid's network, scaled so that they neither vanish nor blow up.

    They lie where torch.hub looks when its folder is ``path.parents[1]``.
    """
    from pytorch_fid import inception

    rng = torch.Generator().manual_seed(0)
    weights: dict[str, torch.Tensor] = {}

    def keep(network: torch.nn.Module, state: object) -> None:
        for name, old in network.state_dict().items():
            weights[name] = old
            if old.ndim > 1:  # He et al. 2015, for rectified units
                scale = (2 / old[0].numel()) ** 0.5
                weights[name] = scale * torch.randn(old.shape, generator=rng)
            elif name.endswith("bias"):
                weights[name] = torch.rand(old.shape, generator=rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", keep)
        inception.fid_inception_v3()
    name = inception.FID_WEIGHTS_URL.rpartition("/")[2]
    path = tmp_path_factory.mktemp("hub") / "checkpoints" / name
    path.parent.mkdir()
    torch.save(weights, path)
    return path


@pytest.fixture
def hub(inception_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder for this test, with the random Inception weights in its cache."""
    folder = inception_weights.parents[1]
    monkeypatch.setattr(torch.hub, "_hub_dir", str(folder))
    return folder
