"""A trained generator outside of torch: one graph that completes images, and its ONNX file.

    export_onnx(BigLearnGAN.from_pretrained("checkpoints/digits"), "digits.onnx")

The graph draws no random numbers. Its noise is input, so that a result can be reproduced in any
language.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from biglearn_gan.config import Config
from biglearn_gan.errors import UsageError, UserError
from biglearn_gan.files import replacing
from biglearn_gan.models.generator import Noise
from biglearn_gan.models.token_model import TokenModel
from biglearn_gan.tasks.patches import patchify, tokens_touched, unpatchify
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL, TokenSequence

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4
"""The difference between onnxruntime and torch that is allowed, absolute and relative."""

OUTPUT_NAMES = ("completions", "label_probabilities")
"""The outputs of the graph; a model without labels has the first only."""

TRACED_ROWS = 2
"""Images that the graph is traced with; it takes any number."""

TESTED_ROWS = 5
"""Images that a written file is compared with torch on."""


class ExportError(UserError):
    """The model cannot be exported here, in one sentence."""


class ExportPathError(UsageError):
    """No ONNX file can have this path, in one sentence."""


class CompletionGraph(nn.Module):
    """Images, their holes and noise to completions: ``BigLearnGAN.complete`` as one pure function.

    The hole is any set of pixels and may differ from image to image. Known pixels are returned
    unchanged. An image with an empty hole is returned as it is, and its label probabilities are
    those of the whole image.

    Args:
        model: whose generator it shares.
    """

    def __init__(self, model: TokenModel):
        super().__init__()
        self.classes: Tensor
        self.config = model.config
        self.generator = model.generator
        self.standardization = model.standardization
        classes = torch.arange(self.config.data.num_classes or 0, device=model.device)
        self.register_buffer("classes", classes, persistent=False)

    def forward(
        self,
        images: Float[Tensor, "N C H W"],
        hole: Bool[Tensor, "N H W"],
        z: Float[Tensor, "N Z"],
        token_noise: Float[Tensor, "N L D"],
        label: Int64[Tensor, " N"] | None = None,
        uniform: Float[Tensor, " N"] | None = None,
    ) -> (
        tuple[Float[Tensor, "N C H W"]]
        | tuple[Float[Tensor, "N C H W"], Float[Tensor, "N classes"]]
    ):
        """The completions and, from a model with labels, p(y | known pixels).

        Args:
            images: in [-1, 1]; what they hold inside the hole is ignored.
            hole: True = generate.
            z: standard normal.
            token_noise: standard normal.
            label: the class of each completion; -1 draws it from p(y | known pixels). For models
                with labels only, as ``uniform``.
            uniform: in [0, 1), for drawing the label.
        """
        patch_size = self.config.model.patch_size
        tokens = self.standardization(patchify(images, patch_size))  # (N, L, P)
        sequence = self._sequence(hole)
        outputs: tuple[Tensor, ...] = ()
        if self.config.data.num_classes is not None:
            assert label is not None and uniform is not None, "a model with labels needs both"
            probabilities = self.generator.label_logits(tokens, sequence).softmax(
                dim=1
            )  # (N, classes)
            sequence = replace(sequence, labels=self._known_labels(label, probabilities, uniform))
            outputs = (probabilities,)
        generated = self.generator(tokens, sequence, Noise(z, token_noise))  # (N, L, P)
        generated = self.standardization.restore(generated)
        drawn = unpatchify(generated, self.config.grid_size, patch_size)  # (N, C, H, W)
        return torch.where(hole[:, None], drawn, images), *outputs  # type: ignore[return-value]

    def _sequence(self, hole: Tensor) -> TokenSequence:
        """All tokens of each image; those that the hole touches are targets."""
        patch_size = self.config.model.patch_size
        is_target = tokens_touched(hole, patch_size)  # (N, L)
        positions = torch.arange(self.config.token_count, device=hole.device)
        known_values = None
        if self.config.reads_partial_patches:
            known = (~hole)[:, None].expand(-1, self.config.data.channels, -1, -1)
            known_values = patchify(known, patch_size) & is_target[..., None]  # (N, L, P)
        return TokenSequence(positions.expand_as(is_target), is_target, known_values=known_values)

    def _known_labels(self, label: Tensor, probabilities: Tensor, uniform: Tensor) -> Tensor:
        """The labels with every negative one drawn; one that is too large fails in ``gather``."""
        cumulative = probabilities.cumsum(dim=1)
        level = uniform[:, None] * cumulative[:, -1:]
        drawn = (cumulative <= level).sum(dim=1).clamp_max(len(self.classes) - 1)
        given = self.classes.gather(0, label.clamp_min(0))
        return torch.where(label <= UNKNOWN_LABEL, drawn, given)

    def example_inputs(self, rows: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, holes, noise and labels to try the graph with, on the CPU."""
        rng = torch.Generator().manual_seed(seed)
        data, length = self.config.data, self.config.token_count
        images = 2 * torch.rand(rows, data.channels, *data.image_size, generator=rng) - 1
        hole = torch.rand(rows, *data.image_size, generator=rng) < 0.5
        noise = self.generator.draw_noise(rows, length, rng)
        inputs = (images, hole, noise.z, noise.token_noise)
        if data.num_classes is None:
            return inputs
        label = torch.arange(rows) % data.num_classes
        return (*inputs, label, torch.rand(rows, generator=rng))


def describe_inputs(config: Config) -> dict[str, str]:
    """Each input of a model's graph, in the graph's order: its type, shape and values."""
    data, noise = config.data, config.model.generator
    height, width = data.image_size
    inputs = {
        "images": f"float32 (N, {data.channels}, {height}, {width}), {_value_range(config)}; "
        "ignored inside the hole",
        "hole": f"bool (N, {height}, {width}), true = generate",
        "z": f"float32 (N, {noise.latent_dim}), standard normal",
        "token_noise": f"float32 (N, {config.token_count}, {noise.token_noise_dim}), "
        "standard normal",
    }
    if data.num_classes is not None:
        inputs["label"] = f"int64 (N,), 0 to {data.num_classes - 1}, or -1 to draw it"
        inputs["uniform"] = "float32 (N,), uniform in [0, 1), for drawing the label"
    return inputs


def export_program(model: TokenModel) -> ExportedProgram:
    """The graph of a model by ``torch.export``: on the CPU, in float32, for any number of images.

    ``.module()`` is called like :class:`CompletionGraph`, and ``torch.export.save`` writes it.
    """
    graph = _cpu_graph(model)
    inputs = graph.example_inputs(TRACED_ROWS)
    rows = Dim("N", min=1)
    return torch.export.export(
        graph, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs), strict=False
    )


def export_onnx(model: TokenModel, path: str | Path) -> None:
    """Write the graph of a model to one ONNX file, after a comparison of the file with torch.

    The metadata of the file are ``data_set``, ``version`` (of this package), ``value_range``
    and ``inputs`` (JSON, see :func:`describe_inputs`).

    Args:
        model: of any precision and on any device; the file computes in float32.
        path: with the suffix ``.onnx``; an existing file is replaced.

    Raises:
        ExportPathError, ExportError: see :func:`check_onnx_output`.
        ExportError: onnxruntime and torch differ by more than ``TOLERANCE``.
    """
    path = Path(path)
    check_onnx_output(path)
    import onnx

    has_labels = model.config.data.num_classes is not None
    with _silence():
        program = torch.onnx.export(
            export_program(model),
            dynamo=True,
            verbose=False,
            input_names=list(describe_inputs(model.config)),
            output_names=list(OUTPUT_NAMES if has_labels else OUTPUT_NAMES[:1]),
        )
    assert program is not None, "torch returns None to its older exporter only"
    proto = program.model_proto
    _remove_notes(proto)
    onnx.helper.set_model_props(proto, _metadata(model.config))
    with replacing(path) as temporary:
        onnx.save(proto, temporary)
        _compare_with_torch(temporary, _cpu_graph(model))


def check_onnx_output(path: Path) -> None:
    """Refuse a path that no ONNX file can be written to, and a machine that cannot write one.

    Raises:
        ExportPathError: it is a folder, has another suffix, or its folder does not exist.
        ExportError: the extra ``onnx`` is not installed.
    """
    if path.is_dir():
        raise ExportPathError(f"{path} is a folder: name a file with the suffix .onnx")
    if path.suffix != ".onnx":
        raise ExportPathError(f"the output must have the suffix .onnx, not {path}")
    if not path.parent.is_dir():
        raise ExportPathError(
            f"{path} cannot be written: {path.parent} does not exist, or is not a folder"
        )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime", "onnxscript"):
            raise
        raise ExportError(f"export needs {error.name}: pip install 'biglearn-gan[onnx]'") from None


def _cpu_graph(model: TokenModel) -> CompletionGraph:
    """The graph with copies of the generator and the statistics, for inference on the CPU."""
    graph = CompletionGraph(model)
    graph.generator = copy.deepcopy(model.generator)
    graph.standardization = copy.deepcopy(model.standardization)
    return graph.cpu().float().eval()


def _remove_notes(proto: onnx.ModelProto) -> None:
    """Drop the exporter's notes, which hold paths of this machine, and name the batch axis."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "N"


def _metadata(config: Config) -> dict[str, str]:
    return {
        "data_set": config.data.name,
        "version": version("biglearn-gan"),
        "value_range": _value_range(config),
        "inputs": json.dumps(describe_inputs(config)),
    }


def _compare_with_torch(path: Path, graph: CompletionGraph) -> None:
    """Refuse a file whose results differ from those of torch.

    Raises:
        ExportError: by more than ``TOLERANCE``.
    """
    import onnxruntime

    inputs = graph.example_inputs(TESTED_ROWS)
    with torch.inference_mode():
        expected = graph(*inputs)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = [value.numpy() for value in inputs]
    names = describe_inputs(graph.config)
    results = session.run(None, dict(zip(names, arrays, strict=True)))
    for name, result, value in zip(OUTPUT_NAMES, results, expected, strict=False):
        if not np.allclose(result, value, rtol=TOLERANCE, atol=TOLERANCE):
            difference = np.abs(result - value.numpy()).max()
            raise ExportError(
                f"the {name} of onnxruntime {onnxruntime.__version__} and torch "
                f"{torch.__version__} differ by {difference:.2g}: try other versions of "
                "onnxruntime, onnxscript and torch"
            )


@contextmanager
def _silence() -> Iterator[None]:
    """Hide what the exporter prints and warns of; none of it is about the user's model."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _value_range(config: Config) -> str:
    return "in [-1, 1]" if config.model.generator.output == "tanh" else "without bounds"
