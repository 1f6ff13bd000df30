"""Random fields on a grid of pixels, with known joint, marginal and conditional distributions.

A model of such a field can be compared with the truth, task by task. With u and v the (row, column)
of two pixels and r = ‖u - v‖ their distance, two fields are stationary with mean 0 and standard
deviation σ = 0.5:

- ``smooth``: Cov = σ² (0.95 exp(-r² / 2ℓ²) + 0.05 [u = v]), ℓ = 2: the squared exponential, with
  a nugget of independent noise so that no pixel is determined by the others;
- ``rough``: Cov = σ² exp(-r / ℓ), ℓ = 2: the exponential.

``mixture`` has three components of weight 1/3. The mean of each is a bump of height 1 on a
background of -1/3, centered at (1/4, 1/4), (1/4, 3/4) or (3/4, 1/2) of the height and width:
μ_k(u) = -1/3 + exp(-½ Σ_a ((u_a - c_ka) / s_a)²), with s a fifth of the height and width. The
deviations from the mean are fields with σ = 1/3 and
Cov = σ² (0.9 exp(-½ Σ_a ((u_a - v_a) / ℓ_ka)²) + 0.1 [u = v]), with (vertical, horizontal)
lengths ℓ of (1, 3), (3, 1) and (1.5, 1.5). If the source does not show which bump it belongs to,
the conditional has several modes. A pixel has a standard deviation of 0.42 on average over an 8 x 8
grid.

``grid`` is not a field but two coordinates, an "image" of 1 x 2 pixels: 25 equal Gaussians with
means {-4, -2, 0, 2, 4}² and covariance 0.05 I (Cong & Zhao 2022, *Big Learning*), to count modes.

Both kernels are positive definite functions of the plane, hence on every grid (Rasmussen & Williams
2006, *Gaussian Processes for Machine Learning*, section 4.2.1).
"""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from biglearn_gan.config import GRID_FIELD_SIZE, FieldName
from biglearn_gan.gaussian_mixture import GaussianMixture, equal_mixture

BUMP_CENTERS = ((1 / 4, 1 / 4), (1 / 4, 3 / 4), (3 / 4, 1 / 2))
BUMP_LENGTHS = ((1.0, 3.0), (3.0, 1.0), (1.5, 1.5))


def gaussian_field(name: FieldName, image_size: tuple[int, int]) -> GaussianMixture:
    """The distribution of a field's H * W pixels, in raster order; see the top of this file.

    Args:
        name: ``smooth``, ``rough``, ``mixture`` or ``grid``.
        image_size: (height, width) in pixels; ``GRID_FIELD_SIZE`` for ``grid``.

    Raises:
        ValueError: an unknown name, or a ``grid`` of another size.
    """
    match name:
        case "smooth":
            return _stationary(0.25 * _squared_exponential(image_size, (2.0, 2.0), nugget=0.05))
        case "rough":
            return _stationary(0.25 * (-_differences(image_size).norm(dim=-1) / 2.0).exp())
        case "mixture":
            return _bump_mixture(image_size)
        case "grid" if image_size == GRID_FIELD_SIZE:
            axis = torch.arange(-4.0, 4.5, 2.0, dtype=torch.float64)
            return equal_mixture(torch.cartesian_prod(axis, axis), 0.05)
        case "grid":
            raise ValueError(
                f"the grid of Gaussians has {GRID_FIELD_SIZE} pixels, not {image_size}"
            )
    raise ValueError(f"a Gaussian field is smooth, rough, mixture or grid, not {name!r}")


def _stationary(covariance: Float64[Tensor, "D D"]) -> GaussianMixture:
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixture(one, torch.zeros_like(covariance[:1]), covariance[None])


def _bump_mixture(image_size: tuple[int, int]) -> GaussianMixture:
    size = torch.tensor(image_size, dtype=torch.float64)
    centers = torch.tensor(BUMP_CENTERS, dtype=torch.float64)[:, None] * size - 0.5  # (3, 1, 2)
    distances = (_coordinates(image_size) - centers) / (size / 5)  # (3, D, 2)
    means = -1 / 3 + (-0.5 * distances.square().sum(dim=-1)).exp()
    covariances = [
        _squared_exponential(image_size, lengths, nugget=0.1) / 9 for lengths in BUMP_LENGTHS
    ]
    weights = torch.full((len(BUMP_CENTERS),), 1 / len(BUMP_CENTERS), dtype=torch.float64)
    return GaussianMixture(weights, means, torch.stack(covariances))


def _squared_exponential(
    image_size: tuple[int, int], lengths: tuple[float, float], nugget: float
) -> Float64[Tensor, "D D"]:
    """(1 - nugget) exp(-½ ‖(u - v) / ℓ‖²) + nugget [u = v]."""
    scaled = _differences(image_size) / torch.tensor(lengths, dtype=torch.float64)
    correlation = (-0.5 * scaled.square().sum(dim=-1)).exp()
    return (1 - nugget) * correlation + nugget * torch.eye(len(scaled), dtype=torch.float64)


def _differences(image_size: tuple[int, int]) -> Float64[Tensor, "D D 2"]:
    """u - v for all pairs of pixels."""
    coordinates = _coordinates(image_size)
    return coordinates[:, None] - coordinates


def _coordinates(image_size: tuple[int, int]) -> Float64[Tensor, "D 2"]:
    """(row, column) of each pixel, in raster order."""
    axes = [torch.arange(size, dtype=torch.float64) for size in image_size]
    return torch.cartesian_prod(*axes)
