"""The model cards of classifiers."""

from __future__ import annotations

from torch import nn

from biglearn_gan.config import DataConfig
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.metrics.classifier import FEATURE_DIM


def classifier_card(
    network: nn.Module,
    config: DataConfig,
    train: ImageDataset,
    test: ImageDataset,
    training: dict[str, object],
    result: str,
    *,
    masked: bool,
) -> str:
    """The card of a classifier.

    Args:
        network: the classifier.
        config: its data.
        train: the training split.
        test: the test split.
        training: ``images`` (seen), ``seed``, and the ``command`` that trained it.
        result: accuracy on the test split, or the calibration table of a masked classifier.
        masked: whether it is a masked classifier.
    """
    details = {
        "data": config.name,
        "height": config.image_size[0],
        "width": config.image_size[1],
        "channels": config.channels,
        "train": _labeled_part(train),
        "train_size": len(train.labeled),
        "test": _labeled_part(test),
        "test_size": len(test.labeled),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "features": FEATURE_DIM,
        "result": result,
    }
    return (MASKED_CARD if masked else CARD).format(**details, **training)


def _labeled_part(dataset: ImageDataset) -> str:
    """The name of the images that a classifier learns from or is tested on."""
    is_whole = len(dataset.labeled) == len(dataset)
    return dataset.name if is_whole else f"{dataset.name} with a label"


CARD = """---
library_name: biglearn_gan
pipeline_tag: image-classification
tags: [biglearn-gan, image-classification, evaluation]
---

# Classifier to evaluate BigLearn-GAN on {data}

A small convolutional network. `biglearn-gan evaluate` predicts labels with it and measures Fréchet
distances in its {features} features. The features are the input of the last layer, with a mean of
about 0 and a variance of about 1 on the training images. Distances in the features of different
networks are not comparable.

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s), in [-1, 1] |
| trained on | all {train_size:,} images of {train}, {images:,} images seen, seed {seed} |
| accuracy | {result} on the {test_size:,} images of {test}, measured once, after training |
| parameters | {parameters:,} |

This command trained it:

```bash
{command}
```
"""

MASKED_CARD = """---
library_name: biglearn_gan
pipeline_tag: image-classification
tags: [biglearn-gan, image-classification, evaluation]
---

# Masked classifier to evaluate BigLearn-GAN on {data}

A small convolutional network that predicts p(label | known pixels) from any part of an image.
`biglearn-gan evaluate` computes the ceiling of label agreement with it: how often a perfect
completion has the true label.

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s), in [-1, 1] |
| trained on | parts of all {train_size:,} images of {train}, {images:,} images seen, seed {seed} |
| parameters | {parameters:,} |

These numbers are of the {test_size:,} images of {test}, with holes of seed 0, measured once, after
training. The first two columns are equal if the probabilities are right. The last column is the
expected calibration error of the most probable label, in 15 bins.

{result}

This command trained it:

```bash
{command}
```
"""
