"""Training on incomplete images, beside what one would do without: fill in the mean, or have fewer.

    python experiments/missing.py --output runs/missing

For each hole, another one in every image (``none`` for complete images): the model of the
configuration trained on what is there, on the same images with each missing pixel set to the mean
of the observed ones, and on only as many complete images as have equally many observed pixels. All
are measured on complete test images, by the protocol of `biglearn-gan evaluate`. What is there
already is not done again; a folder whose model has another configuration is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.options import DataRoot, with_data_root, without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import check_missing_hole, load_dataset
from biglearn_gan.devices import make_accelerator
from biglearn_gan.evaluation.comparison import TASKS, check_num, measure, shipped_metric_models
from biglearn_gan.evaluation.tables import side_by_side
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.progress import unit_bars
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.trainer import Trainer

KINDS = ("as it is", "mean filled in", "fewer, complete")


def main(
    output: Annotated[Path, typer.Option(help="Folder of models and measurements.")],
    config: Annotated[Path, typer.Option(help="YAML file.")] = Path("experiments/digits.yaml"),
    holes: Annotated[
        str, typer.Option(help="What is missing, as data.missing.hole names it.")
    ] = "none,random:0.25:2,random:0.5:2,random:0.75:2",
    images: Annotated[int, typer.Option(min=1, help="Budget of each model.")] = 120_000,
    num: Annotated[int, typer.Option(min=1, help="Images of each task.")] = 10_000,
    data_root: DataRoot = None,
) -> None:
    """Train and measure what is missing, and print the table."""
    torch.set_num_threads(1)
    shown: dict[str, Path] = {}
    asked: dict[str, Config] = {}
    for hole in holes.split(","):
        missing = "null" if hole == "none" else f"{{hole: '{hole}'}}"
        budget = [f"data.missing={missing}", f"train.max_images={images}"]
        settings = load_config(config, budget)
        data = with_data_root(data_root, settings.data)
        asked[hole] = settings.model_copy(update={"data": data})
        check_missing_hole(data)
    metric_models = shipped_metric_models(settings.data.name)
    check_num(num, metric_models)
    for hole, settings in asked.items():
        for kind in KINDS[:1] if hole == "none" else KINDS:
            folder = output / f"{config.stem}, {images} images, {hole}, {kind}"
            own = settings if kind == KINDS[0] else complete(settings)
            if not (folder / "config.json").is_file():
                train(own, training_images(settings, kind), folder)
            elif BigLearnGAN.from_pretrained(folder).config != own.portable():
                fail(f"{folder} is of another training: choose another --output")
            shown["complete" if hole == "none" else f"{hole}, {kind}"] = folder
    for folder in shown.values():
        model = BigLearnGAN.from_pretrained(folder)
        data = with_data_root(data_root, without_missing(model.config.data))
        given = fingerprint(model), data, model.config.model.patch_size, num
        measure({folder: model}, *given, metric_models)
    typer.echo(side_by_side(shown, TASKS))


def training_images(config: Config, kind: str) -> ImageDataset:
    """The incomplete images, or one of the two things that stand for them."""
    dataset = load_training_images(config, torch.device("cpu"))
    if kind == "as it is":
        return dataset
    if kind == "mean filled in":
        return with_the_mean(dataset)
    observed = dataset.batch(torch.arange(len(dataset))).observed
    every = load_dataset(complete(config).data, "train")
    kept = torch.arange(round(float(observed.double().mean()) * len(dataset)))
    labels = None if every.labels is None else every.labels[kept]
    return ImageDataset(every.name, every.images_uint8(kept), labels, every.num_classes)


def complete(config: Config) -> Config:
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
    run(main, "missing")
