"""Compare three ways to train when pixels are missing from the training images.

    python experiments/studies/incomplete_images.py --output runs/incomplete

For each --holes pattern, which hides other pixels in every image, train one model

- as is: on the incomplete images;
- mean filled in: with each missing pixel set to the mean over the images that have it;
- fewer, complete: on fewer images without missing pixels, with as many observed pixels in total.

The pattern `none` trains on all images, complete. All models are evaluated on complete test images
by the protocol of `biglearn-gan evaluate`. Finished models and evaluations are not repeated.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import torch
import typer

from biglearn_gan import BigLearnGAN
from biglearn_gan.cli.evaluation_options import check_num, shipped_metric_models
from biglearn_gan.cli.options import DataRoot, with_data_root, without_missing
from biglearn_gan.cli.runner import fail, run
from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import check_missing_hole, load_dataset
from biglearn_gan.devices import make_accelerator
from biglearn_gan.evaluation.comparison import TASKS, evaluate_pending
from biglearn_gan.evaluation.tables import comparison_tables
from biglearn_gan.metrics.features import fingerprint
from biglearn_gan.progress import unit_bars
from biglearn_gan.training.fit import load_training_images
from biglearn_gan.training.trainer import Trainer

AS_IS, MEAN, FEWER = "as is", "mean filled in", "fewer, complete"


def main(
    output: Annotated[Path, typer.Option(help="Folder for models and evaluations.")],
    config: Annotated[Path, typer.Option(help="YAML file.")] = Path("experiments/digits.yaml"),
    holes: Annotated[
        str, typer.Option(help="Values of data.missing.hole, or none for complete images.")
    ] = "none,random:0.25:2,random:0.5:2,random:0.75:2",
    images: Annotated[int, typer.Option(min=1, help="Training images of each model.")] = 120_000,
    num: Annotated[int, typer.Option(min=1, help="Images per task.")] = 10_000,
    data_root: DataRoot = None,
) -> None:
    """Train and evaluate the models that are not there yet, and print a Markdown table."""
    torch.set_num_threads(1)
    configs = {}
    for hole in holes.split(","):
        missing = "null" if hole == "none" else f"{{hole: '{hole}'}}"
        loaded = load_config(config, [f"data.missing={missing}", f"train.max_images={images}"])
        data = with_data_root(data_root, loaded.data)
        check_missing_hole(data)
        configs[hole] = loaded.model_copy(update={"data": data})
    metric_models = shipped_metric_models(loaded.data.name)
    check_num(num, metric_models)
    rows: dict[str, Path] = {}
    for hole, each in configs.items():
        for method in (AS_IS,) if hole == "none" else (AS_IS, MEAN, FEWER):
            folder = output / f"{config.stem}, {images} images, {hole}, {method}"
            train_if_needed(each, method, folder)
            rows["complete" if hole == "none" else f"{hole}, {method}"] = folder
    for folder in rows.values():
        model = BigLearnGAN.from_pretrained(folder)
        data = with_data_root(data_root, without_missing(model.config.data))
        evaluate_pending({folder: model}, fingerprint(model), data, num, metric_models)
    typer.echo(comparison_tables(rows, TASKS))


def train_if_needed(config: Config, method: str, folder: Path) -> None:
    """Train a model into a folder, unless the folder holds it.

    Raises:
        CommandError: the folder holds a model of another configuration.
    """
    own = config if method == AS_IS else without_holes(config)
    if not (folder / "config.json").is_file():
        train(own, training_images(config, method), folder)
    elif BigLearnGAN.from_pretrained(folder).config != own.portable():
        fail(f"{folder} holds a model of another configuration: choose another --output", 2)


def training_images(config: Config, method: str) -> ImageDataset:
    """The training images of a method for a configuration with ``data.missing``."""
    dataset = load_training_images(config, torch.device("cpu"))
    if method == AS_IS:
        return dataset
    if method == MEAN:
        return fill_with_mean(dataset)
    observed = dataset.batch(torch.arange(len(dataset))).observed
    complete = load_dataset(without_holes(config).data, "train")
    rows = torch.arange(round(float(observed.double().mean()) * len(dataset)))
    labels = None if complete.labels is None else complete.labels[rows]
    return ImageDataset(complete.name, complete.images_uint8(rows), labels, complete.num_classes)


def without_holes(config: Config) -> Config:
    """The configuration with complete images."""
    return config.model_copy(update={"data": config.data.model_copy(update={"missing": None})})


def fill_with_mean(dataset: ImageDataset) -> ImageDataset:
    """Complete images: a missing pixel is the mean of that pixel over the images that have it."""
    everything = torch.arange(len(dataset))
    pixels, observed = dataset.images_uint8(everything), dataset.batch(everything).observed[:, None]
    mean = (pixels * observed).sum(dim=0).double() / observed.sum(dim=0).clamp_min(1)
    filled = torch.where(observed, pixels, mean.round().to(torch.uint8))
    return ImageDataset(dataset.name, filled, dataset.labels, dataset.num_classes)


def train(config: Config, dataset: ImageDataset, folder: Path) -> None:
    """Train for ``train.max_images`` images and save the model."""
    assert config.train.max_images is not None
    trainer = Trainer(config, dataset, make_accelerator("cpu"), config.train.max_images)
    with unit_bars() as on_start, closing(trainer):
        advance = on_start("image", config.train.max_images)
        while not trainer.finished:
            trainer.step()
            advance(config.train.batch_size)
    trainer.model().save_pretrained(folder)


if __name__ == "__main__":
    run(main, "incomplete_images")
