"""Where a checkpoint's weights are: in a folder here, or on the Hugging Face hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from biglearn_gan.config import Config
from biglearn_gan.errors import UserError

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"


class CheckpointError(UserError):
    """A checkpoint that cannot be found, read or used, in one sentence."""


def may_be_on_hub(name: str) -> bool:
    """Whether a model's name means nothing on this machine, there or misspelt."""
    path = Path(name)
    beside = path.parent != Path() and path.parent.is_dir()
    return not path.exists() and not beside and not path.is_absolute()


def weights_file(model_id: str, **options: Any) -> Path:
    """The safetensors file of a model, downloaded where ``model_id`` is no folder.

    Args:
        model_id: folder, or ``owner/name`` on the hub.
        options: those of ``hf_hub_download``; used for the hub only.

    Raises:
        FileNotFoundError: the folder holds no weights.
    """
    if not Path(model_id).is_dir():
        return Path(hf_hub_download(model_id, WEIGHTS_NAME, **options))
    path = Path(model_id) / WEIGHTS_NAME
    if not path.is_file():
        raise FileNotFoundError(f"the folder holds no {WEIGHTS_NAME}")
    return path


def check_folder(name: str) -> None:
    """Refuse what the hub's mixin would fail on without a word of its own, or ask the hub for.

    Raises:
        CheckpointError: it cannot be on the hub, and is no folder with a model's configuration.
        OSError, ValueError: the configuration cannot be read.
    """
    if may_be_on_hub(name):
        return
    folder = Path(name)
    if folder.is_file():
        raise CheckpointError(f"{name} is a file: name the folder that holds it")
    if not folder.is_dir():
        configs = folder.parent.glob(f"*/{CONFIG_NAME}")
        beside = sorted(p.parent.name for p in configs if not _is_of_classifier(p))
        there = f"in {folder.parent} are {', '.join(beside)}" if beside else "no model is beside it"
        raise CheckpointError(f"{name} does not exist; {there}")
    path = folder / CONFIG_NAME
    if not path.is_file():
        inside = folder / "checkpoint"
        hint = f"; {inside} is one" if (inside / CONFIG_NAME).is_file() else ""
        raise CheckpointError(
            f"{folder}: this folder holds no {CONFIG_NAME}, so no checkpoint{hint}"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: holds a JSON {type(values).__name__}, not an object")
    if "num_classes" in values:
        raise CheckpointError(f"{folder}: holds a classifier, which measures, and not a model")


def _is_of_classifier(path: Path) -> bool:
    """Whether a configuration is a classifier's; one that cannot be read may be a model's."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and "num_classes" in values


_CARD = """---
license: mit
library_name: biglearn_gan
pipeline_tag: unconditional-image-generation
tags: [biglearn-gan, image-inpainting, gan, transformer]
---

# BigLearn-GAN on {data}

One transformer generator for every joint, marginal and conditional distribution of the images:
draw an image from nothing, or complete any part given any other, in one forward pass{before}.

```python
from biglearn_gan import BigLearnGAN

model = BigLearnGAN.from_pretrained("path/of/this/folder")
images = model.sample(num=16, seed=0)  # (16, {channels}, {height}, {width}) {values}
```

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s) |
| tokens | {tokens} patches of {patch} x {patch} pixels |
| labels | {labels} |
| holes | {holes} |
| generator | width {g_width}, depth {g_depth}; the moving average of training is what is kept |
| critic | width {d_width}, depth {d_depth}; trained against the live generator; {scores} |
| images seen | {images_seen}{before_them} |
| training time | {minutes} |
| seed | {seed} |
| license | MIT (weights and code); the data have their own |
"""


def card_text(
    config: Config, *, images_seen: int | None = None, seconds: float | None = None
) -> str:
    """Markdown with Hugging Face's metadata block.

    Args:
        config: of the trained model.
        images_seen: real images shown in training, if known.
        seconds: wall time of training, if known.
    """
    height, width = config.data.image_size
    generator, discriminator = config.model.generator, config.model.discriminator
    initial = config.train.initial_model
    return _CARD.format(
        data=config.data.name,
        height=height,
        width=width,
        channels=config.data.channels,
        tokens=config.token_count,
        patch=config.model.patch_size,
        g_width=generator.width,
        g_depth=generator.depth,
        d_width=discriminator.width,
        d_depth=discriminator.depth,
        before="" if config.data.num_classes is None else " (after one that draws the label)",
        holes="may cut through patches: what they leave of a patch is read"
        if config.reads_partial_patches
        else "a patch that is touched is generated whole, and what is kept of it pasted back",
        labels="none"
        if config.data.num_classes is None
        else f"{config.data.num_classes} classes, learned with the images; where none is given, "
        "it is drawn from what the source says, and the image given it",
        values="in [-1, 1]" if generator.output == "tanh" else "without bounds",
        scores="its logit is a log density ratio"
        if config.absolute_scores
        else "its logits rank candidates of one source and are no absolute scores",
        images_seen="not recorded" if images_seen is None else f"{images_seen:,}",
        before_them="" if initial is None else f", after those of `{initial}`, where it started",
        minutes="not recorded" if seconds is None else f"{seconds / 60:.1f} minutes",
        seed=config.train.seed,
    )
