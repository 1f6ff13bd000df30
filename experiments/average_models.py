"""Average the generators of several trained models that continue one another.

python experiments/average_models.py --checkpoint runs/first/checkpoint \
    --checkpoint runs/further/checkpoint --output runs/averaged

If the second model was trained from the first, the average of their weights often draws better than
both (Wortsman et al. 2022, arXiv 2203.05482). Models that began with different random weights have
no useful average.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import nn

from biglearn_gan.cli.runner import fail, run
from biglearn_gan.files import check_output_folder
from biglearn_gan.models.biglearn_gan import BigLearnGAN


def main(
    checkpoint: Annotated[list[str], typer.Option(help="A model; name at least two.")],
    output: Annotated[Path, typer.Option(file_okay=False, help="Folder for the new model.")],
) -> None:
    """Write a model with averaged generators; all else is that of the last one named."""
    if len(checkpoint) < 2:
        fail("--checkpoint must be given at least twice", code=2)
    inputs = [Path(name) for name in checkpoint if Path(name).is_dir()]
    check_output_folder(output, written_by="average_models", inputs=inputs)
    models = [BigLearnGAN.from_pretrained(name) for name in checkpoint]
    last = models[-1]
    for name, model in zip(checkpoint, models, strict=True):
        if shapes(model.generator) != shapes(last.generator):
            fail(f"{name} and {checkpoint[-1]} have generators of different sizes", code=2)
        if model.config.model.generator != last.config.model.generator:
            fail(f"{name} and {checkpoint[-1]} have different settings of model.generator", code=2)
        if not same_statistics(model, last):
            fail(f"{name} and {checkpoint[-1]} standardize pixels differently", code=2)
    average([model.generator for model in models], last.generator)
    last.save_pretrained(output)


def average(networks: list[nn.Module], target: nn.Module) -> None:
    """Give ``target`` the mean weights of all networks, of which it may be one."""
    states = [network.state_dict() for network in networks]
    target.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    )


def same_statistics(one: BigLearnGAN, other: BigLearnGAN) -> bool:
    """Whether two models see the same pixels as the same values."""
    pairs = zip(one.standardization.buffers(), other.standardization.buffers(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def shapes(network: nn.Module) -> dict[str, torch.Size]:
    """The shape of each weight by its name."""
    return {name: value.shape for name, value in network.state_dict().items()}


if __name__ == "__main__":
    run(main, "average_models")
