"""Training the evaluation's two classifiers on a data set's labels, and the cards they ship with.

One reads whole images and measures (``classifier.py``), the other reads partly observed ones and
gives the ceiling of label agreement (``masked_classifier.py``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from biglearn_gan.config import DataConfig, PatternName
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.metrics.classifier import (
    FEATURES,
    ClassifierError,
    ImageClassifier,
    Kind,
    PretrainedClassifier,
    accuracy,
    save_classifier,
)
from biglearn_gan.metrics.masked_classifier import MaskedClassifier, calibration_on
from biglearn_gan.progress import ImageProgress
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import COMPLETION_TASKS, named_hole
from biglearn_gan.tasks.patches import pixels_of_tokens
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest

BATCH_SIZE = 64
WARMUP_SHARE = 0.1
LEARNING_RATE = 2e-3

IMAGES = 180_000
"""Budget of the classifier of whole images, in images seen."""

MASKED_IMAGES = 600_000
"""Budget of the masked classifier; with less it is not sure enough of what it sees."""

LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 0.01
MASKED_WEIGHT_DECAY = 0.05

OBSERVED_PATTERNS: tuple[PatternName, ...] = ("iid", "rectangle", "half_plane", "strokes", "grid")
OBSERVED_WEIGHTS = (4.0, 1.0, 1.0, 1.0, 1.0)
GROUPS_PER_BATCH = 4
"""Images of one batch see this many kinds of observed parts."""


def train_classifier(
    dataset: ImageDataset,
    *,
    seed: int,
    images: int = IMAGES,
    horizontal_flip: bool = False,
    progress: ImageProgress | None = None,
) -> ImageClassifier:
    """Train on randomly shifted whole images, by cross-entropy with label smoothing and AdamW.

    The same data, arguments, device and number of threads give the same weights; nothing global
    is read or left changed.

    Args:
        dataset: with labels, of at least 64 images.
        seed: of the initial weights, the order, shifts and flips.
        images: the budget, in images seen; whole batches of 64 are taken from it.
        horizontal_flip: mirror every other image, where the data allow it.
        progress: called after every step.

    Returns:
        The classifier in evaluation mode, on the data set's device.

    Raises:
        ClassifierError: the data have no labels or too few images, or the budget is no batch.
    """
    reach = max(1, min(dataset.image_size) // 14)

    def loss(
        classifier: ImageClassifier, pictures: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        logits = classifier(_shifted(pictures, reach, rng))
        return F.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)

    return _train(
        ImageClassifier, loss, dataset, seed, images, horizontal_flip, WEIGHT_DECAY, progress
    )


def train_masked_classifier(
    dataset: ImageDataset,
    *,
    seed: int,
    images: int = MASKED_IMAGES,
    horizontal_flip: bool = False,
    progress: ImageProgress | None = None,
) -> MaskedClassifier:
    """Train on parts of images (:func:`draw_observed`), by cross-entropy and AdamW.

    Images are not shifted and labels not smoothed: either would make the probabilities those of
    other data. Arguments, result and errors are those of :func:`train_classifier`.
    """

    def loss(
        classifier: MaskedClassifier, pictures: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        observed = draw_observed(len(pictures), dataset.image_size, rng)
        return F.cross_entropy(classifier(pictures, observed.to(pictures.device)), labels)

    return _train(
        MaskedClassifier,
        loss,
        dataset,
        seed,
        images,
        horizontal_flip,
        MASKED_WEIGHT_DECAY,
        progress,
    )


def draw_observed(
    count: int, image_size: tuple[int, int], rng: torch.Generator
) -> Bool[Tensor, "N H W"]:
    """Observed pixels of ``count`` images, in every pattern, size of block and share in [0, 1]."""
    height, width = image_size
    blocks = [
        block
        for block in range(1, min(height, width) // 2 + 1)
        if height % block == 0 and width % block == 0
    ]
    parts = []
    for rows in torch.arange(count).tensor_split(GROUPS_PER_BATCH):
        block = blocks[int(torch.randint(len(blocks), (1,), generator=rng))]
        pattern = OBSERVED_PATTERNS[
            int(torch.multinomial(torch.tensor(OBSERVED_WEIGHTS), 1, generator=rng))
        ]
        grid_size = (height // block, width // block)
        cells = grid_size[0] * grid_size[1]
        scores = pattern_scores(pattern, grid_size, len(rows), rng)
        if torch.rand(1, generator=rng) < 0.5:
            scores = -scores
        share = torch.rand(len(rows), generator=rng)
        chosen = select_lowest(
            scores, torch.ones(len(rows), cells, dtype=torch.bool), (share * (cells + 1)).long()
        )
        parts.append(pixels_of_tokens(chosen, grid_size, block))
    return torch.cat(parts)


def train_and_save_classifier(
    config: DataConfig,
    config_name: str,
    folder: str | Path,
    *,
    masked: bool = False,
    seed: int = 0,
    images: int | None = None,
    progress: ImageProgress | None = None,
) -> str:
    """Train on the whole training split, measure on the test split, and save with a card.

    Args:
        config: the data; its ``validation_share`` is ignored, nothing is held out of train.
        config_name: the file it came from, as the card's command shall name it.
        folder: where the classifier goes.
        masked: train the masked classifier instead of that of whole images.
        seed, images, progress: those of :func:`train_classifier`.

    Returns:
        What was measured on the test split, in one sentence.

    Raises:
        ClassifierError: the data have no labels or too few images, or the folder holds other files
            than a classifier's.
        DataError: the data cannot be loaded.
        OSError: the folder cannot be written.
    """
    _check_free(Path(folder))
    Path(folder).mkdir(parents=True, exist_ok=True)
    config = config.model_copy(update={"validation_share": 0.0})
    train, test = load_dataset(config, "train"), load_dataset(config, "test")
    budget = images or (MASKED_IMAGES if masked else IMAGES)
    details = {
        "data": config.name,
        "height": config.image_size[0],
        "width": config.image_size[1],
        "channels": config.channels,
        "train": train.name,
        "train_size": len(train),
        "test": test.name,
        "test_size": len(test),
        "images": budget // BATCH_SIZE * BATCH_SIZE,
        "seed": seed,
        "command": f"biglearn-gan train-classifier --config {config_name} "
        f"{'--masked ' if masked else ''}{f'--images {images} ' if images else ''}"
        f"{f'--seed {seed} ' if seed else ''}--output {Path(folder).as_posix()}",
    }
    learn: Callable[..., PretrainedClassifier]
    learn = train_masked_classifier if masked else train_classifier
    classifier = learn(
        train, seed=seed, images=budget, horizontal_flip=config.horizontal_flip, progress=progress
    )
    if isinstance(classifier, MaskedClassifier):
        template, measured = _MASKED_CARD, _calibration_table(classifier, test)
        sentence = "p(y | observed part) on the test split:\n" + measured
    else:
        assert isinstance(classifier, ImageClassifier)
        template, measured = _CARD, f"{accuracy(classifier, test):.4f}"
        sentence = f"accuracy on the test split {measured}"
    parameters = sum(parameter.numel() for parameter in classifier.parameters())
    card = template.format(**details, measured=measured, parameters=parameters, features=FEATURES)
    save_classifier(classifier, folder, card)
    return sentence


def _check_free(folder: Path) -> None:
    """A classifier may take the place of a classifier, of nothing else."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written = None
    if (
        not isinstance(written, dict)
        or written.keys() != signature(ImageClassifier).parameters.keys()
    ):
        raise ClassifierError(
            f"{folder} holds other files than a classifier's: name a new folder, or remove it"
        )


def _train(
    kind: type[Kind],
    loss: Callable[[Kind, Tensor, Tensor, torch.Generator], Tensor],
    dataset: ImageDataset,
    seed: int,
    images: int,
    horizontal_flip: bool,
    weight_decay: float,
    progress: ImageProgress | None,
) -> Kind:
    if dataset.labels is None or dataset.num_classes is None:
        raise ClassifierError(f"{dataset.name} has no labels to train a classifier on")
    if min(len(dataset), images) < BATCH_SIZE:
        raise ClassifierError(
            f"a classifier needs at least {BATCH_SIZE} images and a budget of as many, "
            f"not {len(dataset)} ({dataset.name}) and {images}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = kind(dataset.image_size, dataset.channels, dataset.num_classes)
        classifier.to(dataset.device).train()
        optimizer = torch.optim.AdamW(
            classifier.parameters(), LEARNING_RATE, weight_decay=weight_decay
        )
        order = EpochOrder(len(dataset), seed)
        rng = make_rng(Stream.FLIPS, seed, 0)
        steps = images // BATCH_SIZE
        for step in range(steps):
            done = step / steps
            rate = LEARNING_RATE * min((done + 1 / steps) / WARMUP_SHARE, 1.0, 1.0 - done)
            for group in optimizer.param_groups:
                group["lr"] = rate
            flips = torch.rand(BATCH_SIZE, generator=rng) < 0.5
            batch = dataset.batch(
                order.indices(step * BATCH_SIZE, BATCH_SIZE), flips if horizontal_flip else None
            )
            assert batch.labels is not None
            objective = loss(classifier, batch.images, batch.labels, rng)
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            if progress is not None:
                progress((step + 1) * BATCH_SIZE, images)
    return classifier.eval()


def _calibration_table(classifier: MaskedClassifier, test: ImageDataset) -> str:
    lines = [
        "| hidden | E[p(y_true)] | sum of squared p | accuracy | calibration error |",
        "|---|---|---|---|---|",
    ]
    block = _card_block(test.image_size)
    for name in COMPLETION_TASKS:
        holes = named_hole(name, test.image_size, block, len(test), 0)
        found = calibration_on(classifier, test, holes)
        lines.append(
            f"| {name}{f' (blocks of {block})' if name.startswith('random') else ''} "
            f"| {found.ceiling:.4f} | {found.expected:.4f} "
            f"| {found.accuracy:.4f} | {found.error:.4f} |"
        )
    return "\n".join(lines)


def _card_block(image_size: tuple[int, int]) -> int:
    """The block of the card's random holes: the smallest with which a side has at most 4."""
    side = min(image_size)
    return next(
        block
        for block in range(side // 4, side + 1)
        if block >= 1 and all(size % block == 0 for size in image_size)
    )


def _shifted(
    images: Float[Tensor, "N C H W"], reach: int, rng: torch.Generator
) -> Float[Tensor, "N C H W"]:
    """Each image moved by up to ``reach`` pixels along both axes, its edge repeated."""
    count, _, height, width = images.shape
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    top, left = torch.randint(2 * reach + 1, (2, count, 1), generator=rng)
    image = torch.arange(count)[:, None, None]
    rows = (top + torch.arange(height))[:, :, None]
    columns = (left + torch.arange(width))[:, None, :]
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)


_CARD = """---
license: mit
library_name: biglearn_gan
pipeline_tag: image-classification
tags: [biglearn-gan, image-classification, evaluation]
---

# Classifier for measuring BigLearn-GAN on {data}

A small convolutional network. `biglearn-gan evaluate` reads labels with it and takes Fréchet
distances in its {features} features (the last layer's input, about mean 0 and variance 1 on the
training images). Distances in it compare with no other network's.

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s), in [-1, 1] |
| trained on | all {train_size:,} images of {train}, {images:,} images seen, seed {seed} |
| accuracy | {measured} on the {test_size:,} images of {test}, measured once, after training |
| parameters | {parameters:,} |
| license | MIT (weights and code); the data have their own |

Made by

```bash
{command}
```
"""

_MASKED_CARD = """---
license: mit
library_name: biglearn_gan
pipeline_tag: image-classification
tags: [biglearn-gan, image-classification, evaluation]
---

# Masked classifier for measuring BigLearn-GAN on {data}

A small convolutional network that reads any part of an image and gives p(y | part). With it
`biglearn-gan evaluate` knows how often a perfect completion carries the true label.

| | |
|---|---|
| data | {data}, {height} x {width} pixels, {channels} channel(s), in [-1, 1] |
| trained on | parts of all {train_size:,} images of {train}, {images:,} images seen, seed {seed} |
| parameters | {parameters:,} |
| license | MIT (weights and code); the data have their own |

Measured once, after training, on the {test_size:,} images of {test} (holes of seed 0). The first
two columns agree where the probabilities are right; the last is the expected calibration error of
the most probable label in 15 bins.

{measured}

Made by

```bash
{command}
```
"""
