"""``BigLearnGAN``: a trained generator and discriminator, loaded and used.

    model = BigLearnGAN.from_pretrained("mnist")
    images = model.sample(num=16, seed=0)
    completions = model.complete(images, hole, variations=4, seed=0)

Sample k of image i depends on (seed, i, k) only, not on the number of images or their order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import numpy as np
import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from biglearn_gan.argument_checks import check_integer
from biglearn_gan.config import ConfigError, parse_config
from biglearn_gan.errors import UsageError
from biglearn_gan.files import replacing
from biglearn_gan.models.checkpoint import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    CheckpointError,
    check_model_folder,
    find_checkpoint_folder,
    load_checkpoint,
)
from biglearn_gan.models.factory import upgrade_state_dict
from biglearn_gan.models.image_formats import Images, OutputName, choose_format, convert_range
from biglearn_gan.models.input_checks import NetworkName, choose_seed
from biglearn_gan.models.keyword_options import CompleteKeywords, SampleKeywords
from biglearn_gan.models.labels import Labels, require_labels
from biglearn_gan.models.mask_formats import Mask
from biglearn_gan.models.model_card import card_text
from biglearn_gan.models.model_inputs import (
    CompletionInputs,
    classification_inputs,
    completion_inputs,
    is_bounded,
    score_inputs,
)
from biglearn_gan.models.progressive import OrderName
from biglearn_gan.models.token_model import SamplingOptions, TokenModel
from biglearn_gan.tasks.patches import unpatchify


class ScoreError(UsageError):
    """An absolute score of a model whose discriminator only ranks, in one sentence."""


# Above 400 lines, since overloads tell type checkers the result of each method.
class BigLearnGAN(TokenModel, ModelHubMixin):
    """The averaged generator p(x_T | x_S) and the discriminator f(x; S, T) trained with it.

    Args:
        config: the configuration that the model was or will be trained with.
    """

    @classmethod
    def from_pretrained(  # type: ignore[override]  # the mixin's accepts any keyword
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> BigLearnGAN:
        """Load a shipped model, a folder written by ``save_pretrained``, or a model from the hub.

        The model is on the CPU, in evaluation mode. The other arguments matter only for the hub.

        Args:
            pretrained_model_name_or_path: name of a shipped model, such as ``digits``; a folder; or
                ``owner/name`` on the Hugging Face hub.
            revision: branch, tag or commit.
            token: access token of a private model; True for the one that is stored here.
            cache_dir: folder for downloads.
            force_download: download again what is in ``cache_dir``.
            local_files_only: use what is in ``cache_dir``, without the network.

        Raises:
            CheckpointError: there is no model of this name, or its weights do not fit its
                configuration.
        """
        name = str(pretrained_model_name_or_path)
        folder = find_checkpoint_folder(name)
        if folder is not None:
            check_model_folder(folder)
        values, weights = load_checkpoint(
            name,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
        try:
            model = cls(parse_config(values, stored=True))
        except ConfigError as error:
            problems = "; ".join(error.problems)
            raise CheckpointError(f"{name}/{CONFIG_NAME}: {problems}") from None
        try:
            model.load_state_dict(upgrade_state_dict(weights), strict=True)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise CheckpointError(
                f"{name}/{WEIGHTS_NAME}: the weights do not fit {CONFIG_NAME}: {first}"
            ) from None
        return model.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        with replacing(save_directory / WEIGHTS_NAME) as path:
            save_file(state, path)
        text = json.dumps(self.config.portable().to_dict(), indent=2)
        with replacing(save_directory / CONFIG_NAME) as path:
            path.write_text(text + "\n", encoding="utf-8")

    def generate_model_card(self, **details: Any) -> ModelCard:
        """The model's card.

        Args:
            details: ``images_seen`` and ``seconds``, see
                :func:`~biglearn_gan.models.model_card.card_text`.
        """
        return ModelCard(card_text(self.config.portable(), **details))

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.config.model.patch_size

    # fmt: off
    @overload
    def sample(self, num: int, *, output: Literal["pt"] | None = None,
               **keywords: Unpack[SampleKeywords]) -> Tensor: ...
    @overload
    def sample(self, num: int, *, output: Literal["np"],
               **keywords: Unpack[SampleKeywords]) -> np.ndarray: ...
    @overload
    def sample(self, num: int, *, output: Literal["pil"],
               **keywords: Unpack[SampleKeywords]) -> list[Image.Image]: ...
    # fmt: on

    def sample(
        self,
        num: int,
        *,
        labels: Labels | None = None,
        seed: int = 0,
        generator: torch.Generator | None = None,
        steps: int = 1,
        order: OrderName = "random",
        output: OutputName | None = None,
    ) -> Any:
        """Draw whole images: a float32 tensor (N, C, H, W) in [-1, 1], on the CPU.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> model.sample(4, labels=3).shape
        torch.Size([4, 1, 8, 8])
        >>> model.sample(2, seed=1, output="pil")[0].size
        (8, 8)

        Args:
            num: number of images, at least 1.
            labels: see :meth:`complete`.
            seed: at least 0; image i depends on (seed, i) only.
            generator: see :meth:`complete`.
            steps: see :meth:`complete`.
            order: see :meth:`complete`.
            output: ``np`` for an array (N, H, W, C), uint8 or, of unbounded values, float32;
                ``pil`` for a list of PIL images.

        Raises:
            ValueError: ``num`` is not an integer of at least 1, ``seed`` not one of at least 0,
                both a seed and a generator are given, or there is no such output.
            LabelError: see :meth:`complete`.
            OrderError: see :meth:`complete`.
        """
        check_integer("num", num, least=1)
        form = choose_format(output, bounded=is_bounded(self.config))
        height, width = self.config.data.image_size
        empty = torch.zeros(num, self.config.data.channels, height, width)
        hole = torch.ones(num, height, width, dtype=torch.bool)
        seed = choose_seed(seed, generator)
        options = SamplingOptions(labels=labels, seed=seed, steps=steps, order=order)
        images = self.complete_with(options, completion_inputs(self.config, empty, hole))[:, 0]
        return form.write_images(convert_range(images, form.dtype))

    # fmt: off
    @overload
    def complete(self, images: Tensor, hole: Mask, *, output: None = None,
                 **keywords: Unpack[CompleteKeywords]) -> Tensor: ...
    @overload
    def complete(self, images: np.ndarray, hole: Mask, *, output: None = None,
                 **keywords: Unpack[CompleteKeywords]) -> np.ndarray: ...
    @overload
    def complete(self, images: Image.Image | Sequence[Any], hole: Mask, *, output: None = None,
                 **keywords: Unpack[CompleteKeywords]) -> Any: ...
    @overload
    def complete(self, images: Images, hole: Mask, *, output: Literal["pt"],
                 **keywords: Unpack[CompleteKeywords]) -> Tensor: ...
    @overload
    def complete(self, images: Images, hole: Mask, *, output: Literal["np"],
                 **keywords: Unpack[CompleteKeywords]) -> np.ndarray: ...
    @overload
    def complete(self, images: Images, hole: Mask, *, output: Literal["pil"],
                 **keywords: Unpack[CompleteKeywords]) -> list[Any]: ...
    # fmt: on

    def complete(  # eleven parameters: callers name the few that they change
        self,
        images: Images,
        hole: Mask,
        *,
        absent: Mask | None = None,
        labels: Labels | None = None,
        variations: int = 1,
        seed: int = 0,
        generator: torch.Generator | None = None,
        first_image: int = 0,
        steps: int = 1,
        order: OrderName = "random",
        output: OutputName | None = None,
    ) -> Any:
        """Fill the hole of each image, given all other pixels.

        The completions come back as the images were handed in: a tensor on the same device
        (N, K, C, H, W), an array in the same layout, or a list of K PIL images for each image; of
        the same type, such as uint8, and without N for a single image.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> images = model.sample(4)
        >>> hole = torch.zeros(8, 8, dtype=torch.bool)
        >>> hole[:, 4:] = True  # generate the right half
        >>> model.complete(images, hole, variations=3).shape
        torch.Size([4, 3, 1, 8, 8])
        >>> picture = model.complete(images[0], hole, output="pil")[0]
        >>> picture.size, picture.mode
        ((8, 8), 'L')

        Args:
            images: of the model's size: floats in [-1, 1] or uint8 in [0, 255], with channels first
                or last, with or without N; a PIL image, which is turned upright by its EXIF
                orientation, and to gray for a gray model; or a list of them, of one kind and shape.
                Values inside the hole are ignored.
            hole: True, 1, or white = generate: Boolean or black and white, (H, W) for all images or
                one for each; also as a PIL image. Known pixels are returned unchanged. A model with
                ``tasks.partial_patches`` above 0 also reads the known pixels of a patch that the
                hole cuts through; other models regenerate such a patch whole.
            absent: True = neither given nor generated. A patch that it touches, and the hole does
                not, is hidden from the model; its pixels are returned unchanged.
            labels: the class of each image (N,) or of each completion (N, K), for a model with
                labels. A label that is -1 (all, if None) is drawn as by :meth:`draw_labels`.
            variations: K, completions of each image, at least 1.
            seed: at least 0; completion k of image i depends on (seed, i, k) only.
            generator: draws the seed, and so moves on; the same state gives the same result.
            first_image: number i of the first image, at least 0, so that a long job can be split.
            steps: 1 for one forward pass. More draw the hole's patches in as many passes, each
                given the earlier ones.
            order: order of the patches if there are several steps: ``random``, ``raster`` or
                ``center-out``.
            output: another format: ``pt`` for a float32 tensor, ``np`` for a uint8 array with
                channels last, ``pil`` for PIL images. Tensors stay tensors, and arrays stay
                arrays, of their own type.

        Raises:
            ValueError: an image or mask has the wrong size or type, an image has no hole,
                ``variations`` is not an integer of at least 1, ``seed`` or ``first_image`` not one
                of at least 0, both a seed and a generator are given, or there is no such output.
            LabelError: the model has no labels, or not this one.
            OrderError: the order is unknown, or ``steps`` is not 1 to the tokens of an image.
        """
        inputs = completion_inputs(self.config, images, hole, absent)
        bounded = is_bounded(self.config)
        choose_format(output, inputs.read.format, bounded=bounded)  # before the work
        seed = choose_seed(seed, generator)
        options = SamplingOptions(labels, variations, seed, first_image, steps, order)
        completions = self.complete_with(options, inputs)
        return inputs.read.write_completions(completions, inputs.hole, output, bounded=bounded)

    def draw_labels(
        self,
        images: Images,
        hole: Mask,
        *,
        absent: Mask | None = None,
        variations: int = 1,
        seed: int = 0,
        generator: torch.Generator | None = None,
        first_image: int = 0,
    ) -> Tensor | np.ndarray:
        """The labels (N, K) that :meth:`complete` draws from p(y | x_S) if none are given.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> hole = torch.ones(8, 8, dtype=torch.bool)
        >>> model.draw_labels(model.sample(4), hole, variations=3).shape
        torch.Size([4, 3])

        Raises:
            ValueError: see :meth:`complete`.
            LabelError: the model has no labels.
        """
        require_labels(self.config.data)
        inputs = completion_inputs(self.config, images, hole, absent)
        seed = choose_seed(seed, generator)
        options = SamplingOptions(variations=variations, seed=seed, first_image=first_image)
        labels = self.draw_unknown_labels(options, inputs.tokens, inputs.masks)
        return inputs.read.format.write_numbers(labels)

    def complete_with(
        self, options: SamplingOptions, inputs: CompletionInputs
    ) -> Float[Tensor, "N K C H W"]:
        """See :meth:`complete`; for callers that use the checked inputs more than once."""
        tokens = self.generate(inputs.tokens, inputs.masks, options)  # (N, K, L, P)
        patch_size = self.config.model.patch_size
        generated = unpatchify(tokens.flatten(0, 1), self.config.grid_size, patch_size)
        images = inputs.images[:, None]
        generated = generated.view(len(images), options.variations, *images.shape[2:])
        return torch.where(inputs.hole[:, None, None], generated, images)

    @overload
    def classify(self, images: np.ndarray, *, observed: Mask | None = None) -> np.ndarray: ...
    @overload
    def classify(self, images: Tensor | Image.Image, *, observed: Mask | None = None) -> Tensor: ...
    @overload
    def classify(
        self, images: Sequence[Any], *, observed: Mask | None = None
    ) -> Tensor | np.ndarray: ...

    def classify(self, images: Images, *, observed: Mask | None = None) -> Any:
        """The class probabilities p(y | x_S) of each image, (N, classes), or (classes,) for one.

        They are an array if the images are one, else a tensor.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> model.classify(model.sample(4, labels=7)).argmax(dim=1)
        tensor([7, 7, 7, 7])

        Args:
            images: in any format of :meth:`complete`.
            observed: True = given; None for whole images. A model without
                ``tasks.partial_patches`` reads only patches that are observed completely.

        Raises:
            ValueError: an image or mask has the wrong size or type.
            LabelError: the model has no labels.
        """
        require_labels(self.config.data)
        read, tokens, source, known = classification_inputs(self.config, images, observed)
        probabilities = self.label_probabilities(tokens, source, ~source, known)
        return read.format.write_numbers(probabilities)

    # fmt: off
    @overload
    def features(self, images: np.ndarray, *, observed: Mask | None = None,
                 network: NetworkName = "generator", layer: int | None = None) -> np.ndarray: ...
    @overload
    def features(self, images: Tensor | Image.Image, *, observed: Mask | None = None,
                 network: NetworkName = "generator", layer: int | None = None) -> Tensor: ...
    @overload
    def features(self, images: Sequence[Any], *, observed: Mask | None = None,
                 network: NetworkName = "generator", layer: int | None = None
                 ) -> Tensor | np.ndarray: ...
    # fmt: on

    def features(
        self,
        images: Images,
        *,
        observed: Mask | None = None,
        network: NetworkName = "generator",
        layer: int | None = None,
    ) -> Any:
        """Features of each image, (N, D), or (D,) for one: the mean over its observed patches.

        D is the width of the network. They are an array if the images are one, else a tensor.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> model.features(model.sample(4)).shape
        torch.Size([4, 64])

        Args:
            images: in any format of :meth:`complete`.
            observed: True = given; None for whole images. Patches that are not observed completely
                are hidden from the model.
            network: ``generator`` or ``discriminator``.
            layer: number of the transformer's block, from 1; None for the last one.

        Raises:
            ValueError: an image or mask has the wrong size or type, an image has no patch that is
                observed completely, or there is no such network or block.
        """
        read, tokens, source, _ = classification_inputs(self.config, images, observed)
        return read.format.write_numbers(self.mean_features(tokens, source, network, layer))

    # fmt: off
    @overload
    def score(self, images: np.ndarray, source: Mask, target: Mask,
              labels: Labels | None = None) -> np.ndarray: ...
    @overload
    def score(self, images: Tensor | Image.Image, source: Mask, target: Mask,
              labels: Labels | None = None) -> Tensor: ...
    @overload
    def score(self, images: Sequence[Any], source: Mask, target: Mask,
              labels: Labels | None = None) -> Tensor | np.ndarray: ...
    # fmt: on

    def score(
        self,
        images: Images,
        source: Mask,
        target: Mask,
        labels: Labels | None = None,
    ) -> Any:
        """The critic score log q(x_T | x_S) - log p(x_T | x_S) in nats: real against generated.

        The discriminator was trained against the live generator; the model generates with its
        average. If you score completions of a model with labels, give the labels that
        :meth:`complete` used or drew. Scores (N,) are an array if the images are one.

        >>> from biglearn_gan import load_config
        >>> model = BigLearnGAN(load_config("digits_score"))  # not trained yet
        >>> right = torch.zeros(8, 8, dtype=torch.bool)
        >>> right[:, 4:] = True
        >>> model.score(model.sample(4), source=~right, target=right).shape
        torch.Size([4])

        Args:
            images: in any format of :meth:`complete`.
            source: True = given. A patch counts if all of it is given and none of it is target; a
                model with ``tasks.partial_patches`` also reads given pixels of target patches.
            target: True = scored. A patch counts if any of it is. All else is marginalized out.
            labels: the class of each image; None if it is unknown.

        Raises:
            ScoreError: the model was trained without a logistic term, so that its logits only rank
                candidates of one source (see :meth:`rank`).
            ValueError: an image has no target, or an image or mask has the wrong size or type.
            LabelError: the model has no labels, or not this one.
        """
        if not self.config.absolute_scores:
            raise ScoreError(
                "this model has no absolute scores, because it was trained with loss.logistic of "
                "0: use rank to compare candidates of one source"
            )
        read, tokens, masks = score_inputs(self.config, images, source, target)
        return read.format.write_numbers(self.critic_logits(tokens, masks, labels))

    # fmt: off
    @overload
    def rank(self, images: np.ndarray, hole: Mask, *, absent: Mask | None = None,
             labels: Labels | None = None) -> np.ndarray: ...
    @overload
    def rank(self, images: Tensor | Image.Image, hole: Mask, *, absent: Mask | None = None,
             labels: Labels | None = None) -> Tensor: ...
    @overload
    def rank(self, images: Sequence[Any], hole: Mask, *, absent: Mask | None = None,
             labels: Labels | None = None) -> Tensor | np.ndarray: ...
    # fmt: on

    def rank(
        self,
        images: Images,
        hole: Mask,
        *,
        absent: Mask | None = None,
        labels: Labels | None = None,
    ) -> Any:
        """The discriminator's logits of completed images; higher is better for the same source.

        Every model can rank. See :meth:`score` for absolute scores.

        >>> model = BigLearnGAN.from_pretrained("digits")
        >>> hole = torch.ones(8, 8, dtype=torch.bool)
        >>> model.rank(model.sample(4), hole).shape
        torch.Size([4])

        Args:
            images: completions, in any format of :meth:`complete`.
            hole: True = was generated, as in :meth:`complete`.
            absent: see :meth:`complete`.
            labels: the class of each image; None if it is unknown.

        Raises:
            ValueError: see :meth:`complete`.
            LabelError: the model has no labels, or not this one.
        """
        inputs = completion_inputs(self.config, images, hole, absent, is_completed=True)
        logits = self.critic_logits(inputs.tokens, inputs.masks, labels)
        return inputs.read.format.write_numbers(logits)
