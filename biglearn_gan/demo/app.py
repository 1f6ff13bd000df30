"""The page of ``biglearn-gan demo``: paint a hole, see completions (extra ``demo``, gradio)."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from biglearn_gan.data.image_files import DataError
from biglearn_gan.demo.mask_canvas import empty_canvas, painted_mask, painter
from biglearn_gan.demo.session import DemoResult, DemoSession, to_pil
from biglearn_gan.errors import UserError
from biglearn_gan.tasks.holes import HoleError
from biglearn_gan.tasks.token_masks import UNKNOWN_LABEL

FIRST_VARIATIONS = 6
MOST_VARIATIONS = 16
FIRST_SAMPLES = 16
MOST_SAMPLES = 64
MOST_SEED = 2**53 - 1
"""The largest whole number that every browser keeps exactly."""
KEPT_SECONDS = 3600
"""Uploads and answers are deleted after this long."""
ANY_LABEL = "any"


class DemoError(UserError):
    """A page that cannot be served, in one sentence."""


class SeedError(ValueError):
    """A seed that cannot be used, in one sentence."""


@contextmanager
def serving(studio: DemoSession, host: str, port: int) -> Iterator[str]:
    """Serve the page, at the address that is given, until the context ends.

    Raises:
        DemoError: the port is in use, or the address is not this machine's.
    """
    check_address(host, port)
    _without_proxy("localhost", host)
    with tempfile.TemporaryDirectory() as folder:
        page = _build(studio, Path(folder))
        _, url, _ = page.launch(
            server_name=_in_url(host),
            server_port=port,
            allowed_paths=[folder],
            share=False,
            quiet=True,
            footer_links=[],
            prevent_thread_lock=True,
        )
        try:
            yield url
        finally:
            page.close()


def check_address(host: str, port: int) -> None:
    """Whether a page could be served there.

    Raises:
        DemoError: the port is in use, or the address is not this machine's.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{host} is no name of a host"
        raise DemoError(f"{_in_url(host)}:{port} cannot be served ({reason})") from None


def _without_proxy(*hosts: str) -> None:
    """Reach these hosts directly in this process: gradio asks its own page whether it is there."""
    there = urllib.request.getproxies_environment().get("no", "")
    if there != "*":
        direct = dict.fromkeys((*filter(None, there.split(",")), *hosts))
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(direct)


def _in_url(host: str) -> str:
    """An address of IPv6 stands in brackets there."""
    return f"[{host}]" if ":" in host else host


def _build(studio: DemoSession, folder: Path) -> gr.Blocks:
    """The page; what can be downloaded is written below ``folder``."""
    data = studio.model.config.data
    with gr.Blocks(
        title="BigLearn-GAN", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    ) as page:
        gr.Markdown(f"# BigLearn-GAN on {data.name}")
        with gr.Tab("Complete"):
            _completion_tab(studio, folder)
        with gr.Tab("From nothing"):
            _joint_tab(studio, folder)
    return page


def _completion_tab(studio: DemoSession, folder: Path) -> None:
    count = 0 if studio.images is None else len(studio.images)
    first = studio.test_image(0) if count else None
    image = gr.State(first)
    with gr.Row():
        with gr.Column(scale=3, min_width=studio.canvas_size[0] + 20):
            canvas = painter(_picture(first), studio.canvas_size, "painter")
        with gr.Column(scale=2):
            number = gr.Slider(
                0, max(count - 1, 1), 0, step=1, label="Test image", visible=count > 1
            )
            upload = gr.UploadButton("Upload an image instead", type="filepath", elem_id="upload")
            variations = gr.Slider(1, MOST_VARIATIONS, FIRST_VARIATIONS, step=1, label="Variations")
            seed = gr.Number(0, precision=0, label="Seed")
            label = _label_choice(studio)
            button = gr.Button("Complete", variant="primary")
    outputs = _outputs("completion")

    def choose(number: int | float | None) -> tuple[Any, Any, str]:
        try:
            chosen = studio.test_image(round(number or 0))
        except ValueError as error:
            return gr.skip(), gr.skip(), str(error)
        return chosen, empty_canvas(_picture(chosen)), ""

    def read(path: str) -> tuple[Any, Any, str]:
        try:
            chosen, note = studio.uploaded(Path(path))
        except DataError as error:
            return gr.skip(), gr.skip(), str(error).replace(path, Path(path).name)
        return chosen, empty_canvas(_picture(chosen)), note

    def complete(
        chosen: Tensor | None,
        painted: dict[str, Any],
        variations: int,
        seed: int | None,
        label: str,
    ) -> tuple[Any, ...]:
        if chosen is None:
            return _told("there is no image yet: upload one")
        try:
            hole, start = studio.hole(painted_mask(painted)), _seed(seed)
        except (HoleError, SeedError) as error:
            return _told(str(error))
        answer = studio.complete(
            chosen, hole, variations=int(variations), seed=start, label=_label(label)
        )
        return _shown(answer, folder)

    shown = [image, canvas, outputs[0]]
    # Unprocessed, since gradio would raise what is out of range, and not tell it on the page.
    number.change(choose, number, shown, show_progress="hidden", preprocess=False)
    upload.upload(read, upload, shown)
    button.click(complete, [image, canvas, variations, seed, label], outputs)


def _joint_tab(studio: DemoSession, folder: Path) -> None:
    with gr.Row():
        with gr.Column():
            num = gr.Slider(1, MOST_SAMPLES, FIRST_SAMPLES, step=1, label="Images")
            seed = gr.Number(0, precision=0, label="Seed")
            label = _label_choice(studio)
            button = gr.Button("Generate", variant="primary")
        with gr.Column(scale=2):
            outputs = _outputs("joint")

    def sample(num: int, seed: int | None, label: str) -> tuple[Any, ...]:
        try:
            start = _seed(seed)
        except SeedError as error:
            return _told(str(error))
        answer = studio.sample(int(num), seed=start, label=_label(label))
        return _shown(answer, folder)

    button.click(sample, [num, seed, label], outputs)


def _picture(image: Tensor | None) -> Image.Image | None:
    return None if image is None else to_pil(image)


def _outputs(name: str) -> list[Any]:
    """What was told, the grid, its command line, and the files that it reads."""
    return [
        gr.Markdown(elem_id=f"{name}-told"),
        gr.Image(
            label="Result",
            type="filepath",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id=f"{name}-result",
        ),
        gr.Code(
            label="The same on the command line",
            interactive=False,
            wrap_lines=True,
            lines=2,
            elem_id=f"{name}-command",
        ),
        gr.Files(label="What it reads", visible=False, elem_id=f"{name}-files"),
    ]


def _shown(answer: DemoResult, folder: Path) -> tuple[Any, ...]:
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old)
    place = Path(tempfile.mkdtemp(dir=folder))
    answer.grid.save(place / "grid.png")
    for name, image in answer.files.items():
        image.save(place / name)
    files = [str(place / name) for name in answer.files]
    return "", str(place / "grid.png"), answer.command, gr.Files(files, visible=bool(files))


def _told(sentence: str) -> tuple[Any, ...]:
    return sentence, None, "", gr.Files(visible=False)


def _seed(number: int | None) -> int:
    """What stands in the field, 0 where nothing does.

    Raises:
        SeedError: it is out of range.
    """
    if number is not None and not 0 <= number <= MOST_SEED:
        raise SeedError(f"a seed is 0 to {MOST_SEED}, not {number}")
    return number or 0


def _label_choice(studio: DemoSession) -> gr.Dropdown:
    classes = studio.model.config.data.num_classes
    choices = [ANY_LABEL, *map(str, range(classes or 0))]
    return gr.Dropdown(choices, value=ANY_LABEL, label="Label", visible=classes is not None)


def _label(choice: str) -> int:
    return UNKNOWN_LABEL if choice == ANY_LABEL else int(choice)
