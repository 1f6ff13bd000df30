"""The model card that travels with a checkpoint."""

from __future__ import annotations

from biglearn_gan.config import Config

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
| licence | MIT (weights and code); the data have their own |
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
        if config.reads_kept_pixels
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
