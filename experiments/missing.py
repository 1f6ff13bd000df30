"""Training on incomplete images, beside what one would do without: fill in the mean, or have fewer.

    python experiments/missing.py --output runs/missing

For each share of pixels that are missing (whole blocks of --block pixels, other ones in every
image): the model of the configuration trained on what is there, on the same images with each
missing pixel set to the mean of the observed ones, and on only as many complete images as have
equally many observed pixels. All are measured on complete test images, by the protocol of
`biglearn-gan evaluate`. What is there already is not done again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from measuring import TASKS, data_of, measure
from tables import side_by_side

from biglearn_gan import BigLearnGAN
from biglearn_gan.config import Config, load_config
from biglearn_gan.data import ImageDataset, load_dataset
from biglearn_gan.fit import load_training_images, make_accelerator
from biglearn_gan.progress import unit_bars
from biglearn_gan.trainer import Trainer

KINDS = ("as it is", "mean filled in", "fewer, complete")


def main(
    output: Annotated[Path, typer.Option(help="Folder of models and measurements.")],
    config: Annotated[Path, typer.Option(help="YAML file.")] = Path("experiments/digits.yaml"),
    shares: Annotated[str, typer.Option(help="Shares missing.")] = "0,0.25,0.5,0.75",
    block: Annotated[int, typer.Option(min=1, help="Side of what is missing, pixels.")] = 2,
    images: Annotated[int, typer.Option(min=1, help="Budget of each model.")] = 120_000,
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    data_root: Annotated[Path | None, typer.Option(help="Where the data are.")] = None,
) -> None:
    """Train and measure what is missing, and print the table."""
    torch.set_num_threads(1)
    root = [] if data_root is None else [f"data.root={data_root}", "data.download=false"]
    shown: dict[str, Path] = {}
    for share in shares.split(","):
        hole = [] if float(share) == 0 else [f"data.missing={{hole: 'random:{share}:{block}'}}"]
        settings = load_config(config, [*root, *hole, f"train.max_images={images}"])
        for kind in KINDS if hole else KINDS[:1]:
            folder = output / f"{images} images, {share} in blocks of {block}, {kind}"
            if not (folder / "config.json").is_file():
                dataset = training_images(settings, kind, float(share))
                train(settings if kind == KINDS[0] else whole(settings), dataset, folder)
            shown[f"{float(share):.0%} missing, {kind}" if hole else "complete"] = folder
    models = {folder: BigLearnGAN.from_pretrained(folder) for folder in shown.values()}
    first = next(iter(models.values()))
    data = data_of(first, data_root).model_copy(update={"missing": None})
    measure(models, data, first.config.model.patch_size, num)
    typer.echo(side_by_side(shown, TASKS))


def training_images(config: Config, kind: str, share: float) -> ImageDataset:
    """The incomplete images, or one of the two things that stand for them."""
    if kind == "fewer, complete":
        every = load_dataset(whole(config).data, "train")
        kept = torch.arange(round((1 - share) * len(every)))
        labels = None if every.labels is None else every.labels[kept]
        return ImageDataset(every.name, every.images_uint8(kept), labels, every.num_classes)
    dataset = load_training_images(config, torch.device("cpu"))
    return dataset if kind == "as it is" else with_the_mean(dataset)


def whole(config: Config) -> Config:
    """The same with complete images."""
    return config.model_copy(update={"data": config.data.model_copy(update={"missing": None})})


def with_the_mean(dataset: ImageDataset) -> ImageDataset:
    """Complete images: what was not observed is the mean of that pixel where it was."""
    everything = torch.arange(len(dataset))
    pixels, observed = dataset.images_uint8(everything), dataset.batch(everything).observed[:, None]
    mean = (pixels * observed).sum(dim=0).double() / observed.sum(dim=0).clamp_min(1)
    filled = torch.where(observed, pixels, mean.round().to(torch.uint8))
    return ImageDataset(dataset.name, filled, dataset.labels, dataset.num_classes)


def train(config: Config, dataset: ImageDataset, folder: Path) -> None:
    """Spend the budget on these images and keep the model."""
    assert config.train.max_images is not None
    trainer = Trainer(config, dataset, make_accelerator("cpu"), config.train.max_images)
    with unit_bars() as on_start:
        done = on_start("image", config.train.max_images)
        while not trainer.finished:
            trainer.step()
            done(config.train.batch_size)
    trainer.model().save_pretrained(folder)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
