"""Train the two classifiers of the evaluation on the labels of a data set.

One classifies whole images (``classifier.py``). The other classifies partial images, and gives the
ceiling of label agreement (``masked_classifier.py``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor

from biglearn_gan.config import DataConfig, PatternName
from biglearn_gan.data.dataset import EpochOrder, ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.data.shifts import draw_shifts, shift_images
from biglearn_gan.files import check_output_folder, make_folder
from biglearn_gan.metrics.classifier import (
    CLASSIFIER_FILES,
    ClassifierError,
    ClassifierT,
    ImageClassifier,
    PretrainedClassifier,
    accuracy,
    save_classifier,
)
from biglearn_gan.metrics.classifier_card import classifier_card
from biglearn_gan.metrics.classifier_trunk import NetworkName
from biglearn_gan.metrics.masked_classifier import MaskedClassifier, calibration_on
from biglearn_gan.progress import ImageProgress
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import COMPLETION_TASKS, named_hole
from biglearn_gan.tasks.patches import pixels_of_tokens
from biglearn_gan.tasks.patterns import pattern_scores, select_lowest

BATCH_SIZE = 64
WARMUP_SHARE = 0.1
LEARNING_RATE = 2e-3

IMAGES: dict[NetworkName, int] = {"plain": 180_000, "deep": 500_000}
"""Budgets of the classifier of whole images, in images seen."""

MASKED_IMAGES: dict[NetworkName, int] = {"plain": 600_000, "deep": 500_000}
"""Budgets of the masked classifier, in images seen; with less it is underconfident."""

WIDTHS: dict[NetworkName, int] = {"plain": 8, "deep": 24}
MASKED_WIDTHS: dict[NetworkName, int] = {"plain": 16, "deep": 24}
"""Channels of the first convolution."""

LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 0.01
MASKED_WEIGHT_DECAY = 0.05

KNOWN_PATTERNS: tuple[PatternName, ...] = ("iid", "rectangle", "half_plane", "strokes", "grid")
KNOWN_WEIGHTS = (4.0, 1.0, 1.0, 1.0, 1.0)
GROUPS_PER_BATCH = 4
"""Patterns of known pixels in one batch."""


def train_classifier(
    dataset: ImageDataset,
    *,
    seed: int,
    images: int | None = None,
    network: NetworkName = "plain",
    horizontal_flip: bool = False,
    progress: ImageProgress | None = None,
) -> ImageClassifier:
    """Train on randomly shifted whole images, by cross-entropy with label smoothing and AdamW.

    The same data, arguments, device and number of threads give the same weights. The state of
    PyTorch's CPU generator is neither read nor changed.

    Args:
        dataset: with at least 64 labeled images; others are left out.
        seed: of the initial weights, the order, shifts and flips.
        images: the budget in images seen, rounded down to whole batches of 64; None for that of
            ``IMAGES``.
        network: ``plain`` for digits, ``deep`` for photographs.
        horizontal_flip: mirror half of the images, if the data allow it.
        progress: called after every step.

    Returns:
        The classifier in evaluation mode, on the data set's device.

    Raises:
        ClassifierError: the data have no labels or too few images, or the budget is below a batch.
    """
    max_shift = max(1, min(dataset.image_size) // 14)

    def loss(
        classifier: ImageClassifier, inputs: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        shifts = draw_shifts(len(inputs), max_shift, rng)
        logits = classifier(shift_images(inputs, shifts, max_shift))
        return F.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)

    return _train(
        partial(ImageClassifier, width=WIDTHS[network], network=network),
        loss,
        dataset,
        seed,
        IMAGES[network] if images is None else images,
        horizontal_flip,
        WEIGHT_DECAY,
        progress,
    )


def train_masked_classifier(
    dataset: ImageDataset,
    *,
    seed: int,
    images: int | None = None,
    network: NetworkName = "plain",
    horizontal_flip: bool = False,
    progress: ImageProgress | None = None,
) -> MaskedClassifier:
    """Train on parts of images (:func:`draw_known_pixels`), by cross-entropy and AdamW.

    Images are not shifted and labels are not smoothed, because the probabilities would then be
    those of other data. Arguments, result and errors are those of :func:`train_classifier`; the
    budget is that of ``MASKED_IMAGES``.
    """

    def loss(
        classifier: MaskedClassifier, inputs: Tensor, labels: Tensor, rng: torch.Generator
    ) -> Tensor:
        known = draw_known_pixels(len(inputs), dataset.image_size, rng)
        return F.cross_entropy(classifier(inputs, known.to(inputs.device)), labels)

    return _train(
        partial(MaskedClassifier, width=MASKED_WIDTHS[network], network=network),
        loss,
        dataset,
        seed,
        MASKED_IMAGES[network] if images is None else images,
        horizontal_flip,
        MASKED_WEIGHT_DECAY,
        progress,
    )


def draw_known_pixels(
    count: int, image_size: tuple[int, int], rng: torch.Generator
) -> Bool[Tensor, "N H W"]:
    """Draw known pixels (True) for ``count`` images, in random patterns, block sizes and shares."""
    height, width = image_size
    blocks = [
        block
        for block in range(1, min(height, width) // 2 + 1)
        if height % block == 0 and width % block == 0
    ]
    parts = []
    for rows in torch.arange(count).tensor_split(GROUPS_PER_BATCH):
        block = blocks[int(torch.randint(len(blocks), (1,), generator=rng))]
        pattern = KNOWN_PATTERNS[
            int(torch.multinomial(torch.tensor(KNOWN_WEIGHTS), 1, generator=rng))
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
    network: NetworkName = "plain",
    seed: int = 0,
    images: int | None = None,
    progress: ImageProgress | None = None,
) -> str:
    """Train on the whole training split, test on the test split, and save with a card.

    Args:
        config: the data; ``validation_share`` is ignored, so that no training image is held out.
        config_name: its file and overrides, for the command in the card.
        folder: of the classifier.
        masked: train the masked classifier instead of the one of whole images.
        network, seed, images, progress: as in :func:`train_classifier`.

    Returns:
        The result on the test split, in one sentence.

    Raises:
        ClassifierError: the data have no labels or too few images.
        OutputError: the folder holds files that are not a classifier's.
        DataError: the data cannot be loaded.
        WriteError: the folder cannot be written.
    """
    _check_output(Path(folder))
    make_folder(Path(folder))
    config = config.model_copy(update={"validation_share": 0.0})
    train, test = load_dataset(config, "train"), load_dataset(config, "test")
    if train.labels is not None and len(test.labeled) == 0:
        raise ClassifierError(f"{test.name} has no labels to compare with")
    budget = images or (MASKED_IMAGES if masked else IMAGES)[network]
    train_network: Callable[..., PretrainedClassifier]
    train_network = train_masked_classifier if masked else train_classifier
    classifier = train_network(
        train,
        seed=seed,
        images=budget,
        network=network,
        horizontal_flip=config.horizontal_flip,
        progress=progress,
    )
    if isinstance(classifier, MaskedClassifier):
        result = _calibration_table(classifier, test)
        sentence = "p(label | known pixels) on the test split:\n" + result
    else:
        assert isinstance(classifier, ImageClassifier)
        result = f"{accuracy(classifier, test):.4f}"
        sentence = f"accuracy on the test split {result}"
    options = {
        "--masked": "" if masked else None,
        "--network": None if network == "plain" else network,
        "--images": images,
        "--seed": seed or None,
        "--output": Path(folder).as_posix(),
    }
    words = [f"{name} {value}".strip() for name, value in options.items() if value is not None]
    training = {
        "images": budget // BATCH_SIZE * BATCH_SIZE,
        "seed": seed,
        "command": " ".join([f"biglearn-gan train-classifier --config {config_name}", *words]),
    }
    card = classifier_card(classifier, config, train, test, training, result, masked=masked)
    save_classifier(classifier, folder, card)
    return sentence


def _check_output(folder: Path) -> None:
    """Refuse a folder that holds anything but a classifier."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    try:
        written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written = None
    parameters = signature(ImageClassifier).parameters
    required = {name for name, each in parameters.items() if each.default is each.empty}
    is_classifier = isinstance(written, dict) and required <= written.keys() <= parameters.keys()
    check_output_folder(
        folder,
        written_by="train-classifier",
        replaces=files,
        ours=[file for file in files if is_classifier and file.name in CLASSIFIER_FILES],
    )


def _train(
    kind: Callable[..., ClassifierT],
    loss: Callable[[ClassifierT, Tensor, Tensor, torch.Generator], Tensor],
    dataset: ImageDataset,
    seed: int,
    images: int,
    horizontal_flip: bool,
    weight_decay: float,
    progress: ImageProgress | None,
) -> ClassifierT:
    if dataset.labels is None or dataset.num_classes is None:
        raise ClassifierError(f"{dataset.name} has no labels to train a classifier on")
    if len(dataset.labeled) < len(dataset):
        dataset = dataset.subset(dataset.labeled)
    if min(len(dataset), images) < BATCH_SIZE:
        raise ClassifierError(
            f"a classifier needs at least {BATCH_SIZE} labeled images and a budget of "
            f"{BATCH_SIZE}, not {len(dataset)} ({dataset.name}) and {images}"
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
                progress((step + 1) * BATCH_SIZE, steps * BATCH_SIZE)
    return classifier.eval()


def _calibration_table(classifier: MaskedClassifier, test: ImageDataset) -> str:
    lines = [
        "| hidden | E[p(y_true)] | sum of squared p | accuracy | calibration error |",
        "|---|---|---|---|---|",
    ]
    block = _card_block(test.image_size)
    for name in COMPLETION_TASKS:
        holes = named_hole(name, test.image_size, block, len(test), 0)
        row = calibration_on(classifier, test, holes)
        lines.append(
            f"| {name}{f' (blocks of {block})' if name.startswith('random') else ''} "
            f"| {row.ceiling:.4f} | {row.expected:.4f} | {row.accuracy:.4f} | {row.error:.4f} |"
        )
    return "\n".join(lines)


def _card_block(image_size: tuple[int, int]) -> int:
    """Block size of the random holes in the card: the smallest with at most 4 blocks per side.

    If no such size divides both sides, it is the largest that does.
    """
    largest = math.gcd(*image_size)
    sizes = range(math.ceil(min(image_size) / 4), largest + 1)
    return next((size for size in sizes if largest % size == 0), largest)
