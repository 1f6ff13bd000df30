"""The exported graph draws the same in torch, in ``torch.export`` and in onnxruntime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from biglearn_gan import __version__
from biglearn_gan.config import Config, parse_config
from biglearn_gan.models import export
from biglearn_gan.models.biglearn_gan import BigLearnGAN
from biglearn_gan.models.export import (
    OUTPUT_NAMES,
    CompletionGraph,
    ExportError,
    describe_inputs,
    export_onnx,
    export_program,
)
from biglearn_gan.rng import Stream, make_rng
from biglearn_gan.tasks.holes import named_hole

DIGITS = Path(__file__).parents[2] / "checkpoints" / "digits"
TOLERANCE = {"rtol": 0, "atol": 1e-4}
BATCH_SIZES = (1, 3, 7)

Exported = tuple[BigLearnGAN, Path]
"""A model, and its ONNX file."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, str, str]:
    """The shipped model exported by the command, and what the command printed."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    command = ["export", "--checkpoint", str(DIGITS), "--output", str(path)]
    ended = subprocess.run(
        [sys.executable, "-m", "biglearn_gan", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return (BigLearnGAN.from_pretrained(DIGITS), path), ended.stdout, ended.stderr


@pytest.fixture(scope="session")
def oblong(
    oblong_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exported, torch.export.ExportedProgram]:
    """A model in bfloat16, without labels, that reads partial patches of oblong images.

    It has standardized tokens and convolutions on the canvas.
    """
    values = oblong_config.to_dict()
    values["tasks"]["partial_patches"] = 0.5
    values["data"]["standardize"] = True
    values["model"]["generator"] |= {"canvas_channels": 4, "canvas_features": 2}
    torch.manual_seed(0)
    model = BigLearnGAN(parse_config(values))
    assert model.generator.canvas is not None
    torch.nn.init.normal_(model.generator.canvas.conv2.weight, std=0.2)
    model.standardization.set_statistics(
        torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.3, 0.4, 0.5])
    )
    model = model.bfloat16()
    path = tmp_path_factory.mktemp("onnx") / "oblong.onnx"
    jaxtyping.config.update("jaxtyping_disable", True)
    program = export_program(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "export_program", lambda model: program)  # do it once
        export_onnx(model, path)
    jaxtyping.config.update("jaxtyping_disable", False)
    assert {value.dtype for value in model.parameters()} == {torch.bfloat16}
    return (model.float(), path), program


@pytest.fixture(params=["digits", "oblong"])
def exported(request: pytest.FixtureRequest) -> Exported:
    return request.getfixturevalue(request.param)[0]


def inputs_of(model: BigLearnGAN, rows: int, hole: str) -> tuple[Tensor, ...]:
    """Random inputs with a named hole; a model with labels draws every other label."""
    images, _, *rest = CompletionGraph(model).example_inputs(rows, seed=rows)
    height_and_width = model.config.data.image_size
    holes = named_hole(hole, height_and_width, model.config.model.patch_size, rows, seed=1)
    if model.config.data.num_classes is not None:
        rest[2][::2] = -1
    return images, holes, *rest


def run(path: Path, model: BigLearnGAN, inputs: tuple[Tensor, ...]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = [value.numpy() for value in inputs]
    return session.run(None, dict(zip(describe_inputs(model.config), arrays, strict=True)))


def streams(model: BigLearnGAN, images: int, seed: int) -> tuple[Tensor, ...]:
    """The noise of ``model.complete`` for some images; with labels, -1 and what draws them."""
    length = model.config.token_count
    noise = [
        model.generator.draw_noise(1, length, make_rng(Stream.SAMPLE, seed, image, 0))
        for image in range(images)
    ]
    drawn = (torch.cat([n.z for n in noise]), torch.cat([n.token_noise for n in noise]))
    if model.config.data.num_classes is None:
        return drawn
    rngs = [make_rng(Stream.LABELS, seed, image, 0) for image in range(images)]
    uniform = torch.cat([torch.rand(1, generator=rng, dtype=torch.float64) for rng in rngs])
    return *drawn, torch.full((images,), -1), uniform.float()


@pytest.mark.parametrize("hole", ["joint", "right-half", "strokes"])
def test_onnxruntime_equals_torch(exported: Exported, hole: str) -> None:
    model, path = exported
    for rows in BATCH_SIZES:
        inputs = inputs_of(model, rows, hole)
        with torch.inference_mode():
            expected = CompletionGraph(model)(*inputs)
        results = run(path, model, inputs)
        assert len(results) == len(expected)
        for result, value in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, value, **TOLERANCE)
        images, known = inputs[0], ~inputs[1][:, None].expand_as(inputs[0])
        assert torch.equal(torch.from_numpy(results[0])[known], images[known])


def test_onnxruntime_with_the_noise_of_a_seed_equals_complete(exported: Exported) -> None:
    model, path = exported
    images, hole, *_ = inputs_of(model, 1, "strokes")
    results = run(path, model, (images, hole, *streams(model, 1, seed=7)))
    completions = model.complete(images, hole, seed=7)[:, 0]
    np.testing.assert_allclose(results[0], completions, **TOLERANCE)
    if len(results) == 2:
        probabilities = model.classify(images, observed=~hole)
        np.testing.assert_allclose(results[1], probabilities, **TOLERANCE)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("partial_patches", [0.0, 0.5])
def test_the_graph_equals_complete_and_classify(
    tiny_config: Callable[..., Config], labels: bool, partial_patches: float
) -> None:
    changes = {"data.labels": labels, "tasks.partial_patches": partial_patches}
    model = BigLearnGAN(tiny_config(changes | {"data.standardize": labels})).eval()
    model.standardization.set_statistics(torch.tensor([0.6]), torch.tensor([0.3]))
    images, holes, *_ = inputs_of(model, 5, "strokes")
    with torch.inference_mode():
        results = CompletionGraph(model)(images, holes, *streams(model, 5, seed=3))
    torch.testing.assert_close(results[0], model.complete(images, holes, seed=3)[:, 0])
    if labels:
        torch.testing.assert_close(results[1], model.classify(images, observed=~holes))


@pytest.mark.parametrize("rows", BATCH_SIZES)
def test_torch_export_equals_the_graph(
    oblong: tuple[Exported, torch.export.ExportedProgram], rows: int
) -> None:
    (model, _), program = oblong
    inputs = inputs_of(model, rows, "strokes")
    with torch.inference_mode():
        (expected,) = CompletionGraph(model)(*inputs)
        (result,) = program.module()(*inputs)
    torch.testing.assert_close(result, expected)


def test_what_lies_in_the_hole_is_ignored(exported: Exported) -> None:
    model, path = exported
    images, hole, *rest = inputs_of(model, 3, "strokes")
    expected = run(path, model, (images, hole, *rest))
    hidden = images.masked_fill(hole[:, None], torch.nan)
    for result, value in zip(run(path, model, (hidden, hole, *rest)), expected, strict=True):
        np.testing.assert_array_equal(result, value)


def test_an_empty_hole_classifies_the_whole_image(digits: tuple[Exported, str, str]) -> None:
    (model, path), *_ = digits
    images, hole, *rest = inputs_of(model, 3, "joint")
    completions, probabilities = run(path, model, (images, torch.zeros_like(hole), *rest))
    np.testing.assert_array_equal(completions, images)
    np.testing.assert_allclose(probabilities, model.classify(images), **TOLERANCE)


def test_uniform_draws_the_label_by_its_probability(digits: tuple[Exported, str, str]) -> None:
    (model, path), *_ = digits
    rows = 40
    one = [
        value[:1].repeat(rows, *[1] * (value.ndim - 1)) for value in inputs_of(model, 1, "joint")
    ]
    uniform = (torch.arange(rows) + 0.5) / rows
    unknown, probabilities = run(path, model, (*one[:4], torch.full((rows,), -1), uniform))
    labels = torch.from_numpy(
        np.searchsorted(probabilities[0].cumsum(), uniform.numpy(), side="right")
    )
    assert len(labels.unique()) > 5
    given, _ = run(path, model, (*one[:4], labels, torch.zeros(rows)))
    np.testing.assert_array_equal(unknown, given)
    assert len(np.unique(given, axis=0)) == len(labels.unique())


def test_a_label_that_no_class_has_is_refused(digits: tuple[Exported, str, str]) -> None:
    (model, path), *_ = digits
    *inputs, _, uniform = inputs_of(model, 1, "joint")
    with pytest.raises(Exception, match=r"[Oo]ut of range"):
        run(path, model, (*inputs, torch.tensor([10]), uniform))


def test_the_command_prints_the_inputs_and_nothing_else(digits: tuple[Exported, str, str]) -> None:
    (model, path), out, err = digits
    first, *lines = out.splitlines()
    assert first == f"the model is in {path}; its inputs, for N images:"
    assert lines == [f"  {name}: {text}" for name, text in describe_inputs(model.config).items()]
    assert err == ""


def test_the_file_describes_itself(exported: Exported) -> None:
    model, path = exported
    session = onnxruntime.InferenceSession(path)
    metadata = session.get_modelmeta().custom_metadata_map
    described = json.loads(metadata.pop("inputs"))
    assert metadata == {
        "data_set": model.config.data.name,
        "version": __version__,
        "value_range": "in [-1, 1]",
    }
    assert list(described) == [each.name for each in session.get_inputs()]
    for each in session.get_inputs():
        shape = ", ".join(map(str, each.shape))
        assert f"({shape})".replace("(N)", "(N,)") in described[each.name]
    outputs = [each.name for each in session.get_outputs()]
    assert outputs == list(OUTPUT_NAMES[: len(outputs)])
    assert {each.shape[0] for each in session.get_outputs()} == {"N"}


def test_no_path_of_this_machine_is_in_the_file(exported: Exported) -> None:
    assert b"biglearn_gan/" not in exported[1].read_bytes()


def test_a_file_that_differs_from_torch_is_not_written(
    oblong: tuple[Exported, torch.export.ExportedProgram],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (model, exported), program = oblong
    wrong = SimpleNamespace(model_proto=onnx.load(exported))
    monkeypatch.setattr(export, "export_program", lambda model: program)
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: wrong)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an earlier export")
    torch.manual_seed(1)
    with pytest.raises(ExportError, match=r"the completions of onnxruntime .* differ by"):
        export_onnx(BigLearnGAN(model.config), path)
    assert path.read_bytes() == b"an earlier export"
    assert list(tmp_path.iterdir()) == [path]
    export_onnx(model, path)
    assert onnx.load(path) == onnx.load(exported)
