"""The endpoints of the page, called by programs: one sentence for what is broken, no warnings."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demo_tools import free_port
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from biglearn_gan.demo.app import serve
from biglearn_gan.demo.session import DemoSession

Canvas = dict[str, str]


def paint(rows: slice) -> Canvas:
    """The value of a canvas of 16 x 16 pixels with paint on some rows."""
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[rows] = 255
    file = io.BytesIO()
    Image.fromarray(layer).save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    return {"image": "", "paint": f"data:image/png;base64,{encoded}"}


LOWER_HALF = paint(slice(8, 16))


@pytest.fixture
def url(session: DemoSession) -> Iterator[str]:
    with serve(session, "127.0.0.1", free_port()) as address:
        yield address


@pytest.fixture
def connect(url: str, tmp_path: Path) -> Callable[[], Client]:
    return lambda: Client(url, verbose=False, download_files=str(tmp_path))


BROKEN = [
    ("/complete", ({"image": "", "paint": "data:image/png;base64,AAAA"}, 1, 0, "any"), "the paint"),
    (
        "/complete",
        ({"image": "", "paint": "scribble"}, 1, 0, "any"),
        "the paint is not the data UR",
    ),
    ("/complete", ({}, 1, 0, "any"), "the paint is missing: send the data URL of a PNG image"),
    ("/complete", (None, 1, 0, "any"), "the paint is missing"),
    ("/complete", (LOWER_HALF, "x", 0, "any"), "the number of variations must be 1 to 16, not x"),
    ("/complete", (LOWER_HALF, 1, "abc", "any"), "the seed must be 0 to 9007199254740991, not abc"),
    ("/complete", (LOWER_HALF, 1, 0, "dog"), "the label must be one of any, 0, 1, "),
    ("/sample", (None, 0, "any"), "the number of images must be 1 to 64, not None"),
    ("/fit_again", ("zoom",), "the fit must be one of crop, pad, stretch, not zoom"),
    ("/read_upload", (None, "crop"), "the upload is missing: send one file"),
    ("/read_mask", (None, "crop"), "the upload is missing: send one file"),
    ("/choose_image", ("abc",), "the number of a test image must be 0 to "),
]


def test_a_broken_request_ends_in_one_sentence_and_the_log_stays_empty(
    connect: Callable[[], Client], capfd: pytest.CaptureFixture[str]
) -> None:
    client = connect()
    capfd.readouterr()
    for endpoint, arguments, sentence in BROKEN:
        with pytest.raises(AppError) as caught:
            client.predict(*arguments, api_name=endpoint)
        assert str(caught.value).startswith(sentence)
        assert "\n" not in str(caught.value)
    message, *_ = client.predict(LOWER_HALF, 99, 0, "any", api_name="/complete")
    assert message == "the number of variations must be 1 to 16, not 99"
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_broken_upload_is_one_sentence_on_the_page(
    connect: Callable[[], Client], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client = connect()
    client.predict(1, api_name="/choose_image")
    capfd.readouterr()
    contents = {"cut.png": b"\x89PNG\r\n\x1a\n", "empty.jpg": b"", "notes.txt": b"no image"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for endpoint, subject in (("/read_upload", name), ("/read_mask", f"the mask {name}")):
            upload = handle_file(str(tmp_path / name))
            *_, message = client.predict(upload, "crop", api_name=endpoint)
            assert message.startswith(f"{subject} ") and message.endswith("known image format)")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_press_warns_of_nothing(session: DemoSession, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with serve(session, "127.0.0.1", free_port()) as address:
            client = Client(address, verbose=False, download_files=str(tmp_path))
            message, *_ = client.predict(LOWER_HALF, 1, 0, "any", api_name="/complete")
    assert message == ""
    messages = [str(warning.message) for warning in caught]
    assert not [text for text in messages if "unclosed event loop" not in text]


def test_two_people_at_once_get_their_own_results(
    connect: Callable[[], Client], session: DemoSession
) -> None:
    first, second, third = connect(), connect(), connect()
    first.predict(1, api_name="/choose_image")
    second.predict(2, api_name="/choose_image")
    upper, lower = paint(slice(0, 8)), LOWER_HALF
    jobs: list[tuple[Any, Any]] = []
    for seed in range(3):
        for client, number, canvas in ((first, 1, upper), (second, 2, lower)):
            hole = torch.zeros(session.model.config.data.image_size, dtype=torch.bool)
            middle = len(hole) // 2
            hole[slice(0, middle) if canvas is upper else slice(middle, None)] = True
            expected = session.complete(
                session.test_image(number), hole, variations=number + 1, seed=seed
            )
            job = client.submit(canvas, number + 1, seed, "any", api_name="/complete")
            jobs.append((job, expected))
        job = third.submit(5, seed, "any", api_name="/sample")
        jobs.append((job, session.sample(5, seed=seed)))
    for job, expected in jobs:
        message, grid, command, _ = job.result()
        assert message == ""
        assert command.splitlines()[-1] == expected.command
        assert (np.asarray(Image.open(grid)) == np.asarray(expected.grid)).all()
