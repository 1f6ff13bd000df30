"""Losses in the features of a frozen network: ``loss.perceptual``.

Distances of pixels do not see what people see. In features of a network trained on ImageNet, they
come closer. The frozen network is not part of a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from biglearn_gan.config import Config
from biglearn_gan.models.canvas import PatchGrid
from biglearn_gan.models.efficientnet import FeatureNetworkError
from biglearn_gan.models.feature_networks import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    load_feature_network,
)
from biglearn_gan.models.standardization import Standardization
from biglearn_gan.tasks.token_masks import TokenSequence
from biglearn_gan.training import losses

SHIFT_SHARE = 1 / 8
"""Largest shift of a picture, as a share of its height and width."""


@dataclass(frozen=True)
class View:
    """How the pictures of one step are shown to the frozen network.

    Its convolutions have strides, so a texture could hide between the pixels that it looks at. The
    real picture and all fakes are shown alike.

    Attributes:
        shift: pixels to the bottom and to the right; what it uncovers is absent.
        is_flipped: whether left and right change places.
    """

    shift: tuple[int, int] = (0, 0)
    is_flipped: bool = False

    @classmethod
    def draw(cls, image_size: tuple[int, int], rng: torch.Generator) -> View:
        """A random view."""
        most = [int(SHIFT_SHARE * side) for side in image_size]
        down, right = (int(torch.randint(-n, n + 1, (), generator=rng)) for n in most)
        return cls((down, right), bool(torch.rand((), generator=rng) < 0.5))

    def show(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The pictures in this view; uncovered pixels are 0."""
        down, right = self.shift
        shifted = F.pad(pictures, (right, -right, down, -down))
        return shifted.flip(-1) if self.is_flipped else shifted

    def flip_back(self, maps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Feature maps of shown pictures, with left and right as in the pictures; still shifted."""
        return maps.flip(-1) if self.is_flipped else maps


@dataclass(frozen=True)
class BatchFeatures:
    """Feature maps of a batch, one for each layer; those of the fakes have gradients.

    Attributes:
        real: of the B real pictures, with any number of channels and any size.
        fakes: of the K B fakes, first those of all pictures, then second ones, and so on.
    """

    real: list[Float[Tensor, "B _ _ _"]]
    fakes: list[Float[Tensor, "KB _ _ _"]]

    def energy_score(self) -> Float[Tensor, " B"]:
        """The energy score of the first two fakes of each real picture."""
        rows = len(self.real[0])
        first = [maps[:rows] for maps in self.fakes]
        second = [maps[rows : 2 * rows] for maps in self.fakes]
        return losses.feature_energy_score(self.real, first, second)


class PerceptualFeatures:
    """The features of pictures in the configured network.

    Args:
        config: with ``loss.perceptual``.
        standardization: maps the networks' tokens to pixel values.
        device: of the tokens.

    Raises:
        FeatureNetworkError: see :func:`load_feature_network`.
    """

    def __init__(self, config: Config, standardization: Standardization, device: torch.device):
        settings = config.loss.perceptual
        assert settings is not None
        self.network = load_feature_network(settings.network, settings.layers).to(device)
        self._standardization = standardization
        self._grid = PatchGrid.of(config)
        shorter = min(config.data.image_size)
        height, width = (round(side * settings.size / shorter) for side in config.data.image_size)
        self._size = (height, width)
        pixels = config.model.patch_size**2
        self._mean, self._deviation = (
            torch.tensor(values, device=device).repeat_interleave(pixels)
            for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )

    def __call__(
        self,
        real: Float[Tensor, "B M P"],
        fakes: Float[Tensor, "KB M P"],
        sequence: TokenSequence,
        view: View | None = None,
    ) -> BatchFeatures:
        """The feature maps of real pictures and their fakes.

        Args:
            real: the present tokens of real pictures.
            fakes: first fakes of all pictures, then second ones, and so on.
            sequence: positions of the tokens of ``real``.
            view: how the pictures are shown; None as they are.
        """
        view = view or View()
        with torch.no_grad():
            of_real = self._maps(real, sequence, view)
        return BatchFeatures(
            of_real, self._maps(fakes, sequence.repeat(len(fakes) // len(real)), view)
        )

    def map_shapes(self) -> list[tuple[int, int, int]]:
        """Channels, height and width of each feature map.

        Raises:
            FeatureNetworkError: the pictures are too small for the network.
        """
        empty = torch.zeros(1, 3, *self._size, device=self._mean.device)
        try:
            with torch.no_grad():
                return [tuple(features.shape[1:]) for features in self.network(empty)]
        except RuntimeError:
            height, width = self._size
            raise FeatureNetworkError(
                f"loss.perceptual: pictures of {height} x {width} pixels are too small for these "
                "layers; raise loss.perceptual.size"
            ) from None

    def pictures(
        self, tokens: Float[Tensor, "R M P"], sequence: TokenSequence
    ) -> Float[Tensor, "R 3 H W"]:
        """What the network reads of the tokens; absent pixels are 0, which is ImageNet's mean."""
        values = self._standardization.restore(tokens, clamped=False)
        values = ((values + 1) / 2 - self._mean) / self._deviation
        return self._grid.place(values, sequence)

    def _maps(self, tokens: Tensor, sequence: TokenSequence, view: View) -> list[Tensor]:
        shown = view.show(self.pictures(tokens, sequence))
        if shown.shape[2:] != self._size:
            shown = F.interpolate(shown, self._size, mode="bilinear", align_corners=False)
        return [view.flip_back(maps) for maps in self.network(shown)]
