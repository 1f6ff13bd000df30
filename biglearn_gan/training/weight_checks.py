"""Several processes hold the same weights: they start from one copy, and are compared later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from accelerate import Accelerator
from jaxtyping import Int64
from torch import Tensor, nn

_FACTOR = 1_000_003
"""An odd number, so that the order of a network's tensors counts."""


class DifferentWeightsError(Exception):
    """A process has other weights than the others; the message names both."""


def copy_from_main(tensors: Iterable[Tensor], accelerator: Accelerator) -> None:
    """Replace the tensors, in place, by those of the main process. All processes must call this."""
    if accelerator.num_processes > 1:
        for tensor in tensors:
            torch.distributed.broadcast(tensor.detach(), src=0)


def check_same_weights(networks: Mapping[str, nn.Module], accelerator: Accelerator) -> None:
    """Compare checksums of the weights of all processes. All processes must call this.

    Raises:
        DifferentWeightsError: a process has other weights than most, or than process 0 if there is
            no majority. All processes raise it.
    """
    if accelerator.num_processes == 1:
        return
    sums = torch.stack([checksum(network.parameters()) for network in networks.values()])
    rows = [tuple(row) for row in accelerator.gather(sums[None]).tolist()]
    ((usual, count),) = Counter(rows).most_common(1)
    if count <= len(rows) // 2:
        usual = rows[0]
    for process, row in enumerate(rows):
        for name, value, expected in zip(networks, row, usual, strict=True):
            if value != expected:
                raise DifferentWeightsError(
                    f"process {process} has another {name} than process {rows.index(usual)}"
                )


def checksum(weights: Iterable[Tensor]) -> Int64[Tensor, ""]:
    """A number that changes with any bit of float32 weights, modulo 2 to the 64th."""
    total = torch.zeros((), dtype=torch.int64)
    for weight in weights:
        bits = weight.detach().view(torch.int32).sum(dtype=torch.int64)
        total = total.to(bits.device) * _FACTOR + bits
    return total
