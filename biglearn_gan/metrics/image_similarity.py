"""PSNR and SSIM between completions and their originals.

Both reward the mean of all possible completions, so a blurred guess scores above a sharp sample.
They are measured because others report them.
"""

from __future__ import annotations

from jaxtyping import Bool, Float64, UInt8
from torch import Tensor

SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels (Wang et al. 2004, section III.B); its deviation is 1.5."""

ROUNDING_ERROR = 1 / 12
"""Squared error of rounding to 8 bits. A smaller error counts as this one, so PSNR is finite."""


def psnr(
    images: UInt8[Tensor, "N K C H W"],
    originals: UInt8[Tensor, "N C H W"],
    hole: Bool[Tensor, "N H W"],
) -> Float64[Tensor, "N K"]:
    """Peak signal-to-noise ratio of each image in dB, over the pixels of its hole.

    Over the whole image it is larger by ``-10 log10`` of the hidden share if known pixels are
    copied.
    """
    squares = (images.double() - originals[:, None].double()).square().mean(dim=2)
    errors = (squares * hole[:, None]).sum(dim=(2, 3)) / hole.sum(dim=(1, 2))[:, None]
    return 10 * (255**2 / errors.clamp_min(ROUNDING_ERROR)).log10()


def ssim(
    images: UInt8[Tensor, "N C H W"], originals: UInt8[Tensor, "N C H W"]
) -> Float64[Tensor, " N"] | None:
    """Structural similarity of whole images (Wang et al. 2004, eq. 13), averaged over the channels.

    None if a side is shorter than the window.
    """
    if min(images.shape[-2:]) < SSIM_WINDOW:
        return None
    # It takes seconds to import.
    from torchmetrics.functional.image import structural_similarity_index_measure

    values = structural_similarity_index_measure(
        images.float() / 255, originals.float() / 255, data_range=1.0, reduction="none"
    )
    assert isinstance(values, Tensor)
    return values.double().view(-1)
