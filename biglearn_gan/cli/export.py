"""``biglearn-gan export``: a trained model as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from biglearn_gan.cli.options import Checkpoint, load_model


def export(
    checkpoint: Checkpoint,
    output: Annotated[Path, typer.Option(help="ONNX file to write, such as model.onnx.")],
) -> None:
    """Write a model to an ONNX file.

    It needs onnx, onnxscript and onnxruntime: pip install 'biglearn-gan[onnx]'.
    """
    import torch

    from biglearn_gan.models.export import check_onnx_output, describe_inputs, export_onnx

    check_onnx_output(output)
    model = load_model(checkpoint, torch.device("cpu"))
    export_onnx(model, output)
    typer.echo(f"the model is in {output}; its inputs, for N images:")
    for name, description in describe_inputs(model.config).items():
        typer.echo(f"  {name}: {description}")
