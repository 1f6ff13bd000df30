"""A network of a model with a linear classifier on top, both trained on labeled images."""

from __future__ import annotations

from copy import deepcopy
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from biglearn_gan import BigLearnGAN
from biglearn_gan.models.input_checks import NetworkName
from biglearn_gan.tasks.patches import patchify
from biglearn_gan.tasks.token_masks import present_tokens

STEPS = 200
"""Training steps."""

BATCH_SIZE = 64
"""Images of a step, or all of them if they are fewer."""

LEARNING_RATE = 1e-3
"""At its peak; chosen on digits among 5e-4, 1e-3 and 2e-3."""

WARMUP_SHARE = 0.1
"""Share of the steps in which the learning rate rises; then it falls to 0. Both are linear."""

WEIGHT_DECAY = 0.05
TEST_ROWS = 1024


class FineTunedNetwork:
    """Reads labels from the mean of the last block over all patches, as `model.features` does.

    :meth:`fit` starts from the model's weights and trains all weights by cross-entropy and AdamW.
    Images are arrays (N, C, H, W) in [-1, 1], labels (N,) class numbers.

    Args:
        model: stays as it is.
        network: which of its networks.
        num_classes: number of the labels.
    """

    def __init__(self, model: BigLearnGAN, network: NetworkName, num_classes: int):
        self._model = model
        self._network = network
        self._num_classes = num_classes

    def fit(self, images: np.ndarray, labels: np.ndarray) -> Self:
        """Train; the same images and labels give the same weights."""
        self._trunk = deepcopy(getattr(self._model, self._network)).train().requires_grad_(True)
        width = getattr(self._model.config.model, self._network).width
        self._head = nn.Linear(width, self._num_classes)
        nn.init.zeros_(self._head.weight)
        nn.init.zeros_(self._head.bias)
        optimizer = torch.optim.AdamW(
            [*self._trunk.parameters(), *self._head.parameters()],
            LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
        )
        tokens, targets = self._tokens(images), torch.from_numpy(labels)
        rng = torch.Generator().manual_seed(0)
        for step in range(STEPS):
            done = step / STEPS
            for group in optimizer.param_groups:
                rise = (done + 1 / STEPS) / WARMUP_SHARE
                group["lr"] = LEARNING_RATE * min(rise, 1.0, 1.0 - done)
            rows = torch.randperm(len(tokens), generator=rng)[:BATCH_SIZE]
            loss = F.cross_entropy(self._logits(tokens[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The most likely class of each image, (N,)."""
        with torch.inference_mode():
            parts = self._tokens(images).split(TEST_ROWS)
            return torch.cat([self._logits(part).argmax(dim=1) for part in parts]).numpy()

    def _tokens(self, images: np.ndarray) -> Tensor:
        tokens = patchify(torch.from_numpy(images), self._model.patch_size)
        return self._model.standardization(tokens)

    def _logits(self, tokens: Tensor) -> Tensor:
        every = torch.ones(tokens.shape[:2], dtype=torch.bool)
        sequence = present_tokens(every, ~every, None)
        states = self._trunk.hidden_states(tokens, sequence)  # (B, L, D)
        return self._head(states.mean(dim=1))  # (B, classes)
