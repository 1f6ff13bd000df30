"""``BigLearnGAN``: a trained generator with its critic and configuration, loaded and used.

    model = BigLearnGAN.from_pretrained("checkpoints/mnist")
    images = model.sample(num=16, seed=0)
    completions = model.complete(images, hole, variations=4, seed=0)

Sample *i*, variation *k* depends on (seed, i, k) and nothing else: its noise has a generator of its
own, and neither the number of images asked for nor the order of the work changes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from jaxtyping import Bool, Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from biglearn_gan.config import ConfigError, parse_config
from biglearn_gan.errors import UsageError
from biglearn_gan.files import replacing
from biglearn_gan.models.checkpoint import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    CheckpointError,
    card_text,
    check_folder,
    weights_file,
)
from biglearn_gan.models.factory import upgrade_state_dict
from biglearn_gan.models.input_checks import (
    WITHOUT_LABELS,
    LabelError,
    Labels,
    Mask,
    check_draws,
    check_values,
    check_whole,
    checked_images,
    checked_mask,
)
from biglearn_gan.models.progressive import OrderName
from biglearn_gan.models.token_model import TokenModel
from biglearn_gan.tasks.patches import patchify, tokens_covered, tokens_touched, unpatchify
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenMasks


class ScoreError(UsageError):
    """More is asked of a critic than it was trained for, in one sentence."""


class BigLearnGAN(TokenModel, ModelHubMixin):
    """The averaged generator p(x_T | x_S) and the critic f(x; S, T) that was trained with it.

    Args:
        config: the configuration it was (or will be) trained with.
    """

    @classmethod
    def from_pretrained(  # type: ignore[override]  # theirs takes any keyword, unread
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> BigLearnGAN:
        """Load a folder written by ``save_pretrained``, or a model of that name from the hub.

        The model is on the CPU; ``.to(device)`` moves it. All but the name is for the hub only.

        Args:
            pretrained_model_name_or_path: folder, or ``owner/name`` on the Hugging Face hub.
            revision: branch, tag or commit.
            token: of a user who may read it; True for the one that is stored here.
            cache_dir: where downloads are kept.
            force_download: even what was downloaded before.
            local_files_only: use what was downloaded before.

        Raises:
            CheckpointError: nothing is there, or the weights do not fit the configuration.
        """
        name = str(pretrained_model_name_or_path)
        try:
            check_folder(name)
            return super().from_pretrained(
                name,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            if Path(name).is_dir():
                raise CheckpointError(f"{name}: cannot be read ({error})") from None
            raise CheckpointError(
                f"{name!r} is neither a folder here nor a model that can be reached on the "
                "Hugging Face hub"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{name}/{CONFIG_NAME}: is not valid JSON ({error})") from None

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> BigLearnGAN:
        weights = weights_file(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            token=token,
            local_files_only=local_files_only,
        )
        try:
            model = cls(parse_config(model_kwargs.get("config", {}), stored=True))
        except ConfigError as error:
            problems = "; ".join(error.problems)
            raise CheckpointError(f"{model_id}/{CONFIG_NAME}: {problems}") from None
        try:
            model.load_state_dict(upgrade_state_dict(load_file(weights)), strict=True)
        except SafetensorError as error:
            raise CheckpointError(f"{weights}: is not a safetensors file ({error})") from None
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise CheckpointError(
                f"{weights}: the weights do not fit {CONFIG_NAME}: {first}"
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
        """The card of this model; ``details`` are those of :func:`biglearn_gan.models.checkpoint.card_text`."""
        return ModelCard(card_text(self.config.portable(), **details))

    def sample(
        self,
        num: int,
        *,
        labels: Labels | None = None,
        seed: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N C H W"]:
        """Draw whole images from nothing, or of given classes, in [-1, 1].

        Args:
            num: how many, at least 1.
            labels: see :meth:`complete`.
            seed: at least 0; image i depends on (seed, i) alone.
            steps: see :meth:`complete`, as ``order``.

        Raises:
            ValueError: ``num`` or ``seed`` is no whole number, or below 1 or 0.
            LabelError, OrderError: see :meth:`complete`.
        """
        check_whole("num", num, least=1)
        height, width = self.config.data.image_size
        empty = torch.zeros(num, self.config.data.channels, height, width)
        hole = torch.ones(num, height, width, dtype=torch.bool)
        options: dict[str, Any] = {"seed": seed, "steps": steps, "order": order}
        return self.complete(empty, hole, labels=labels, **options)[:, 0]

    def complete(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Mask,
        *,
        absent: Mask | None = None,
        labels: Labels | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
        steps: int = 1,
        order: OrderName = "random",
    ) -> Float[Tensor, "N K C H W"]:
        """Fill the hole of each image, given everything outside of it; the result is on the CPU.

        Args:
            images: in [-1, 1]; what they hold inside the hole is ignored.
            hole: True = generate. Pixels outside of it come back bit for bit. In a patch that it
                touches, kept pixels are read by a model with ``tasks.partial_patches`` above 0; any
                other generates the patch whole, and they are pasted back.
            absent: True = neither given nor generated. A patch touched by it and not by the hole
                is not shown to the model; its pixels come back as they were.
            labels: the class of each image (N,) or of each completion (N, K), for a model with
                labels; where it is -1 (or None, for all) it is drawn by :meth:`draw_labels` first.
            variations: K, completions of each image, at least 1.
            seed: at least 0; completion k of image i depends on (seed, i, k) alone.
            first_image: the number i of the first image, so that a long job can be cut in parts.
            steps: 1 for one pass; more draw the hole's patches in so many parts, one after another,
                each given what is drawn already.
            order: in which the patches are drawn, ``random``, ``raster`` or ``center-out``.

        Raises:
            ValueError: sizes differ from the model's, an image has no hole, or ``variations`` or
                ``seed`` is no whole number, or below 1 or 0.
            LabelError: the model has no labels, or not that one.
            OrderError: an unknown order, or steps that are not 1 to the tokens of an image.
        """
        kept, holes, tokens, masks = self._asked(images, hole, absent)
        tokens = self.generate(
            tokens,
            masks,
            labels=labels,
            variations=variations,
            seed=seed,
            first_image=first_image,
            steps=steps,
            order=order,
        )
        patch_size = self.config.model.patch_size
        drawn = unpatchify(tokens.flatten(0, 1), self.config.grid_size, patch_size)
        drawn = drawn.view(len(kept), variations, *kept.shape[1:])
        return torch.where(holes[:, None, None], drawn, kept[:, None])

    def draw_labels(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Mask,
        *,
        absent: Mask | None = None,
        variations: int = 1,
        seed: int = 0,
        first_image: int = 0,
    ) -> Int64[Tensor, "N K"]:
        """The labels that :meth:`complete` draws from p(y | x_S) when it is given none.

        Raises:
            ValueError: see :meth:`complete`.
            LabelError: the model has no labels.
        """
        if self.config.data.num_classes is None:
            raise LabelError(WITHOUT_LABELS)
        check_draws(variations, seed)
        kept, _, tokens, masks = self._asked(images, hole, absent)
        unknown = torch.full((len(kept), variations), UNKNOWN_LABEL)
        return self.known_labels(unknown, tokens, masks, seed, first_image)

    def classify(
        self,
        images: Float[Tensor, "N C H W"],
        *,
        observed: Mask | None = None,
    ) -> Float[Tensor, "N Y"]:
        """p(y | x_S): each image's class probabilities given what is observed of it.

        A patch that is not observed whole is not read at all, but by a model with
        ``tasks.partial_patches`` above 0.

        Args:
            images: in [-1, 1].
            observed: True = given; None for whole images.

        Raises:
            ValueError: sizes differ from the model's.
            LabelError: the model has no labels.
        """
        if self.config.data.num_classes is None:
            raise LabelError(WITHOUT_LABELS)
        images = checked_images(images, self.config.data)
        seen = torch.ones_like(images[:, 0], dtype=torch.bool)
        if observed is not None:
            seen = checked_mask("observed", observed, images)
        check_values(images, seen, self._bounded)
        patch_size = self.config.model.patch_size
        source = tokens_covered(seen, patch_size)
        kept = self._known_values(seen, ~source)
        return self.label_probabilities(patchify(images, patch_size), source, ~source, kept)

    def score(
        self,
        images: Float[Tensor, "N C H W"],
        source: Mask,
        target: Mask,
        labels: Labels | None = None,
    ) -> Float[Tensor, " N"]:
        """The critic's log q(x_T | x_S) - log p(x_T | x_S) in nats: real against generated.

        It was trained against the live generator, and the one that ships is its average. Without a
        label, a model with labels is judged as it draws without one, while :meth:`complete` draws
        one first: give the label to judge what it draws.

        Args:
            images: in [-1, 1].
            source: True = given; a patch counts if all of it is given and none of it is target,
                or else what of it is given beside the target, as in :meth:`complete`.
            target: True = judged; a patch counts if any of it is. All else is marginalized out.
            labels: see :meth:`complete`.

        Raises:
            ScoreError: the model was trained without a logistic term, so that its logits rank
                candidates of one source and say no more (see :meth:`rank`).
            ValueError: an image has no target, or sizes differ from the model's.
            LabelError: see :meth:`complete`.
        """
        if not self.config.absolute_scores:
            raise ScoreError(
                "this model's critic only ranks candidates of one source: it was trained with "
                "loss.logistic of 0, and an absolute score needs it above 0"
            )
        images = checked_images(images, self.config.data)
        given = checked_mask("source", source, images)
        asked = checked_mask("target", target, images)
        check_values(images, given | asked, self._bounded)
        patch_size = self.config.model.patch_size
        judged = tokens_touched(asked, patch_size)
        source_tokens = tokens_covered(given, patch_size) & ~judged
        masks = TokenMasks(source_tokens, judged, self._known_values(given & ~asked, judged))
        return self.critic_logits(patchify(images, patch_size), masks, labels)

    def rank(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Mask,
        *,
        absent: Mask | None = None,
        labels: Labels | None = None,
    ) -> Float[Tensor, " N"]:
        """The critic's logits of completed images: of one source, the highest is the likeliest.

        Any model ranks; see :meth:`score` for what a logit says beyond that.

        Args:
            images: completions, in [-1, 1].
            hole: True = was generated, as :meth:`complete` was asked.
            absent: see :meth:`complete`, as ``labels``.

        Raises:
            ValueError: see :meth:`complete`.
            LabelError: see :meth:`complete`.
        """
        images = checked_images(images, self.config.data)
        holes, away = self._check_hole(hole, absent, images)
        check_values(images, ~away, self._bounded)
        tokens, masks = self._in_tokens(images, holes, away)
        return self.critic_logits(tokens, masks, labels)

    @property
    def _bounded(self) -> bool:
        """Whether images lie in [-1, 1]."""
        return self.config.model.generator.output == "tanh"

    def _asked(
        self, images: Tensor, hole: Tensor, absent: Tensor | None
    ) -> tuple[Float[Tensor, "N C H W"], Bool[Tensor, "N H W"], Float[Tensor, "N L P"], TokenMasks]:
        """Images and their holes, and the same in tokens, on the CPU."""
        images = checked_images(images, self.config.data)
        holes, away = self._check_hole(hole, absent, images)
        check_values(images, ~(holes | away), self._bounded)
        return images, holes, *self._in_tokens(images, holes, away)

    def _check_hole(
        self, hole: Tensor, absent: Tensor | None, images: Tensor
    ) -> tuple[Bool[Tensor, "N H W"], Bool[Tensor, "N H W"]]:
        """The hole and what is absent of each image, on the CPU."""
        holes = checked_mask("hole", hole, images)
        empty = (~holes.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(f"the hole of image {empty[0]} is empty: nothing is to be generated")
        if absent is None:
            return holes, torch.zeros_like(holes)
        return holes, checked_mask("absent", absent, images)

    def _in_tokens(
        self, images: Tensor, holes: Tensor, away: Tensor
    ) -> tuple[Float[Tensor, "N L P"], TokenMasks]:
        patch_size = self.config.model.patch_size
        target = tokens_touched(holes, patch_size)
        source = ~target & ~tokens_touched(away, patch_size)
        masks = TokenMasks(source, target, self._known_values(~(holes | away), target))
        return patchify(images, patch_size), masks

    def _known_values(
        self, given: Bool[Tensor, "N H W"], target: Bool[Tensor, "N L"]
    ) -> Bool[Tensor, "N L P"] | None:
        """The values of target tokens that are given, None for a model that cannot read them."""
        if not self.config.reads_partial_patches:
            return None
        channels = self.config.data.channels
        values = given[:, None].expand(-1, channels, -1, -1)
        return patchify(values, self.config.model.patch_size) & target[..., None]
