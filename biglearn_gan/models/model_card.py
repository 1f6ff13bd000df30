"""The model card, a README with Hugging Face's metadata, that is saved next to the weights."""

from __future__ import annotations

from biglearn_gan.config import Config, DataConfig

_CARD = """---
library_name: biglearn_gan
pipeline_tag: unconditional-image-generation
tags: [biglearn-gan, image-inpainting, gan, transformer]
---

# BigLearn-GAN on {data}

One transformer generator for all joint, marginal and conditional distributions of the images. It
draws whole images and completes any part of an image given any other, {passes}.

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
| generator | width {g_width}, depth {g_depth}; EMA weights |
| discriminator | width {d_width}, depth {d_depth}; trained against the live generator; {scores} |
| images seen | {images_seen}{initial_model} |
| training time | {minutes} |
| seed | {seed} |
"""

LISTED_CLASSES = 20
"""Classes whose names a card lists; of more, it says how many there are."""


def card_text(
    config: Config, *, images_seen: int | None = None, seconds: float | None = None
) -> str:
    """The card as Markdown.

    Args:
        config: the trained model's configuration.
        images_seen: real images seen in training, if known.
        seconds: wall time of training, if known.
    """
    height, width = config.data.image_size
    generator, discriminator = config.model.generator, config.model.discriminator
    num_classes, initial = config.data.num_classes, config.train.initial_model
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
        passes="in one forward pass"
        if num_classes is None
        else "in one forward pass\n(plus one to infer the class label if it is not given)",
        holes="partially masked patches supported"
        if config.reads_partial_patches
        else "a partially masked patch is regenerated whole; its known pixels are then put back",
        labels=_describe_labels(config.data),
        values="in [-1, 1]" if generator.output == "tanh" else "without bounds",
        scores="its logit is a log density ratio"
        if config.absolute_scores
        else "its logits rank candidates of one source and are not absolute scores",
        images_seen="not recorded" if images_seen is None else f"{images_seen:,}",
        initial_model="" if initial is None else f", after starting from `{initial}`",
        minutes="not recorded" if seconds is None else f"{seconds / 60:.1f} minutes",
        seed=config.train.seed,
    )


def _describe_labels(data: DataConfig) -> str:
    """How many classes there are, and their names if they say more than their numbers."""
    if data.num_classes is None:
        return "none"
    numbers = tuple(map(str, range(data.num_classes)))
    listed = data.label_names != numbers and data.num_classes <= LISTED_CLASSES
    names = f" ({', '.join(data.label_names)})" if listed else ""
    return (
        f"{data.num_classes} classes{names}; a label that is not given is inferred from the source"
    )
