"""Losses of labels: their cross-entropy, also if only some images are labeled, and mismatched ones.

Unlabeled images can get pseudo-labels: confident predictions of an averaged network (Tarvainen and
Valpola 2017, arXiv 1703.01780) for the whole image, which the trained network must predict from a
part of it (FixMatch, Sohn et al. 2020, arXiv 2001.07685, eq. 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from biglearn_gan.config.schema_training import LossConfig
from biglearn_gan.models.generator import Generator
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence
from biglearn_gan.training import losses
from biglearn_gan.training.objectives import Objective
from biglearn_gan.training.training_batch import TrainingBatch


def add_label_losses(
    objective: Objective, generator: Generator, batch: TrainingBatch, loss: LossConfig
) -> None:
    """Add -log p(y | x_S) of each image; its pixels are trained as p(x_T | x_S, y).

    If only some images are labeled, ``batch.labeled`` holds those that are learned from. Then the
    batch's own images count only with pseudo-labels, with the true label where there is one.

    Args:
        objective: the generator's.
        generator: predicts the labels.
        batch: after :func:`with_pseudo_labels`, if the run uses them.
        loss: weights of the terms.
    """
    labels, labeled = batch.labels, batch.labeled
    if labels is None:
        return
    if labeled is None:
        inputs = batch if batch.superset is None else batch.superset
        term = _cross_entropy(generator, inputs.real, inputs.sequence, labels)
        objective.add(term, loss.label, "loss/label")
    elif loss.pseudo_labels is None:
        term = _cross_entropy(generator, labeled.real, batch.sequence, labeled.labels)
        objective.add(term, loss.label, "loss/label")
    else:
        tokens = torch.cat([labeled.real, labeled.unlabeled])
        targets = torch.cat([labeled.labels, labels])
        both = _cross_entropy(generator, tokens, batch.sequence.repeat(2), targets)
        term, pseudo = both.chunk(2)
        objective.add(term, loss.label, "loss/label")
        objective.add(pseudo, loss.pseudo_labels.weight, "loss/pseudo_label")
        objective.metrics["labels/known"] = (labels != UNKNOWN_LABEL).float().mean()


@torch.no_grad()
def with_pseudo_labels(batch: TrainingBatch, average: Generator, threshold: float) -> TrainingBatch:
    """The batch in which confident predictions stand for unknown labels, also where one is given.

    Args:
        batch: of a model with labels.
        average: predicts the label from all present tokens.
        threshold: the lowest probability, 0 to 1, at which a prediction counts.
    """
    assert batch.labels is not None and batch.label_is_source is not None
    no_target = torch.zeros_like(batch.sequence.is_target)
    whole = replace(batch.sequence, is_target=no_target, known_values=None)
    probabilities = average.label_logits(batch.real, whole).float().softmax(dim=1)
    confidence, classes = probabilities.max(dim=1)
    predicted = torch.where(confidence >= threshold, classes, UNKNOWN_LABEL)
    labels = torch.where(batch.labels == UNKNOWN_LABEL, predicted, batch.labels)
    given = torch.where(batch.label_is_source, labels, UNKNOWN_LABEL)
    second = batch.second_split
    return replace(
        batch,
        labels=labels,
        sequence=replace(batch.sequence, labels=given),
        second_split=None if second is None else replace(second, labels=given),
    )


def mismatched_label(
    batch: TrainingBatch,
    real: Float[Tensor, " B"],
    score: Callable[[TokenSequence], Float[Tensor, " B"]],
) -> Float[Tensor, " B"]:
    """-log σ(f(x; y) - f(x; y')) of each real image x, its label y, and another label y'.

    It is 0 where the labels are equal, or where one of them is unknown.

    Args:
        batch: with ``other_labels``.
        real: f(x; y).
        score: f(x; y') for the batch's tasks with other labels.
    """
    labels, others = batch.sequence.labels, batch.other_labels
    assert labels is not None and others is not None
    differ = (labels != UNKNOWN_LABEL) & (others != UNKNOWN_LABEL) & (labels != others)
    mismatched = score(replace(batch.sequence, labels=others))
    return torch.where(differ, losses.relativistic_discriminator(real, mismatched), 0.0)


def _cross_entropy(
    generator: Generator,
    tokens: Float[Tensor, "R M P"],
    sequence: TokenSequence,
    labels: Int64[Tensor, " R"],
) -> Float[Tensor, " R"]:
    """The cross-entropy of each row; 0 where the label is unknown."""
    logits = generator.label_logits(tokens, sequence)
    return losses.label_cross_entropy(logits.float(), labels)
