"""Several threads give the same results as one, in every run."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from accelerate import Accelerator

from biglearn_gan.config import load_config
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.training.trainer import Trainer

ROOT = Path(__file__).parents[1]


def test_samples_of_a_shipped_model_do_not_depend_on_their_number() -> None:
    model = BigLearnGAN.from_pretrained(ROOT / "checkpoints" / "digits")
    images = 2 * torch.rand(70, 1, 8, 8) - 1
    hole = torch.zeros(70, 8, 8, dtype=torch.bool)
    hole[:, :, 4:] = True
    before = torch.get_num_threads()
    torch.set_num_threads(max(2, os.cpu_count() or 1))
    try:
        many, few = model.sample(100, seed=5), model.sample(3, seed=5)
        many_completions = model.complete(images, hole, seed=5)
        few_completions = model.complete(images[:3], hole[:3], seed=5)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(many[:3], few)
    assert torch.equal(many_completions[:3], few_completions)
    assert len(many.flatten(1).unique(dim=0)) == 100


def test_several_threads_sum_in_the_same_order_every_time() -> None:
    """With networks of the size of the shipped ones, whose gradients several threads sum."""
    config = load_config(ROOT / "experiments" / "digits.yaml", ["train.warm_start.share=0.0"])
    dataset = load_dataset(config.data, "train")
    weights = []
    torch.set_num_threads(max(2, os.cpu_count() or 1))
    for _ in range(2):
        trainer = Trainer(config, dataset, Accelerator(cpu=True), max_images=10**6)
        for _ in range(30):
            trainer.step()
        weights.append([p.detach().clone() for p in trainer.adversarial.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
