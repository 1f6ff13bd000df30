"""The web page of ``biglearn-gan demo``: paint a hole, see completions (extra ``demo``, gradio)."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from biglearn_gan.config import FitMode
from biglearn_gan.demo.entries import (
    ANY_LABEL,
    EntryError,
    check_fit,
    check_label,
    check_number,
    check_seed,
    check_upload,
    label_choices,
)
from biglearn_gan.demo.mask_canvas import SEND_PAINT, canvas_value, mask_canvas, painted_mask
from biglearn_gan.demo.session import CanvasImage, DemoResult, DemoSession
from biglearn_gan.errors import UserError
from biglearn_gan.files import WriteError, writing
from biglearn_gan.inference.sample_writer import FULL_SIZE, PHOTO_FORMAT
from biglearn_gan.pixel_values import to_pil

DEFAULT_VARIATIONS = 6
MAX_VARIATIONS = 16
DEFAULT_SAMPLES = 16
MAX_SAMPLES = 64
FILE_LIFETIME = 3600
"""Seconds after which uploads and results are deleted."""


GRADIO_WARNINGS = (r".*future\.no_silent_downcasting", r".*[Tt]he copy keyword is deprecated")
"""What pandas warns of at every press, because gradio calls it in an old way."""


class DemoError(UserError):
    """The page cannot be served."""


@contextmanager
def serve(session: DemoSession, host: str, port: int) -> Iterator[str]:
    """Serve the page until the context ends; yields its address.

    Raises:
        DemoError: the port is in use, or this machine does not have the address.
    """
    check_address(host, port)
    _bypass_proxy("localhost", host)
    for message in GRADIO_WARNINGS:
        warnings.filterwarnings("ignore", message, module=r"gradio\.queueing")
    with tempfile.TemporaryDirectory() as folder:
        page = _build_page(session, Path(folder))
        _, url, _ = page.launch(
            server_name=_host_in_url(host),
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
    """Check that a page can be served at this address.

    Raises:
        DemoError: the port is in use, or this machine does not have the address.
    """
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{host} is not a host name"
        problem = DemoError(f"cannot serve on {_host_in_url(host)}:{port} ({reason})")
        is_taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        problem.exit_code = 1 if is_taken else 2
        raise problem from None


def _bypass_proxy(*hosts: str) -> None:
    """Make this process reach these hosts without a proxy: gradio requests its own page."""
    bypassed = urllib.request.getproxies_environment().get("no", "")
    if bypassed != "*":
        direct = dict.fromkeys((*filter(None, bypassed.split(",")), *hosts))
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(direct)


def _host_in_url(host: str) -> str:
    """The host, in brackets if it is an IPv6 address."""
    return f"[{host}]" if ":" in host else host


def _build_page(session: DemoSession, folder: Path) -> gr.Blocks:
    """Build the page; files to download are written below ``folder``."""
    data = session.model.config.data
    with gr.Blocks(
        title="BigLearn-GAN", analytics_enabled=False, delete_cache=(FILE_LIFETIME, FILE_LIFETIME)
    ) as page:
        gr.Markdown(f"# BigLearn-GAN on {data.name}")
        with gr.Tab("Complete"):
            _build_completion_tab(session, folder)
        with gr.Tab("Generate"):
            _build_generation_tab(session, folder)
    return page


def _build_completion_tab(session: DemoSession, folder: Path) -> None:
    count = 0 if session.images is None else len(session.images)
    first = session.test_image(0) if count else None
    current = gr.State(first)
    with gr.Row():
        with gr.Column(scale=3, min_width=session.canvas_size[0] + 20):
            shown = None if first is None else to_pil(first.image)
            canvas = mask_canvas(shown, session.canvas_size, "canvas")
        with gr.Column(scale=2):
            number = gr.Slider(
                0, max(count - 1, 1), 0, step=1, label="Test image", visible=count > 1
            )
            with gr.Row():
                upload = gr.UploadButton("Upload an image", type="filepath", elem_id="upload")
                mask = gr.UploadButton("Upload its mask", type="filepath", elem_id="mask")
            fit = gr.Radio(list(get_args(FitMode)), value="crop", label="Fit of an upload")
            full_size = gr.Checkbox(label="Also complete an upload at its own size")
            variations = gr.Slider(
                1, MAX_VARIATIONS, DEFAULT_VARIATIONS, step=1, label="Variations"
            )
            seed = gr.Number(0, precision=0, label="Seed")
            label = _label_choice(session)
            button = gr.Button("Complete", variant="primary")
    results = _result_components("completion")
    handlers = _CompletionHandlers(session, folder)
    changed = [current, canvas, results[0]]
    # Without preprocessing, which would raise a number out of range instead of showing a message,
    # and write the traceback to the log.
    number.change(handlers.choose_image, number, changed, show_progress="hidden", preprocess=False)
    upload.upload(handlers.read_upload, [upload, fit], changed, preprocess=False)
    mask.upload(handlers.read_mask, [mask, current, fit], changed, preprocess=False)
    fit.change(handlers.fit_again, [current, fit], changed, preprocess=False)
    inputs = [current, canvas, variations, seed, label, full_size]
    button.click(handlers.complete, inputs, results, js=SEND_PAINT, preprocess=False)


class _CompletionHandlers:
    """What happens when a person uses the tab to complete images.

    A handler returns new values for its components; a message for the person is among them.
    """

    def __init__(self, session: DemoSession, folder: Path):
        self.session = session
        self.folder = folder

    def choose_image(self, number: object) -> tuple[Any, Any, str]:
        last = len(self.session.images or ()) - 1
        try:
            number = check_number(number or 0, "the number of a test image", 0, last)
            return _on_canvas(self.session.test_image(number))
        except EntryError as error:
            return gr.skip(), gr.skip(), str(error)

    def read_upload(self, upload: object, fit: object) -> tuple[Any, Any, str]:
        return self._read_photo(check_upload(upload), check_fit(fit))

    def _read_photo(self, path: str, fit: FitMode) -> tuple[Any, Any, str]:
        try:
            return _on_canvas(self.session.load_photo(Path(path), fit=fit))
        except UserError as error:
            return gr.skip(), gr.skip(), _without_folder(error, path)

    def read_mask(
        self, upload: object, current: CanvasImage | None, fit: object
    ) -> tuple[Any, Any, str]:
        path, mode = check_upload(upload), check_fit(fit)
        try:
            return _on_canvas(self.session.load_mask(Path(path), current, mode))
        except UserError as error:
            return gr.skip(), gr.skip(), _without_folder(error, path)

    def fit_again(self, current: CanvasImage | None, fit: object) -> tuple[Any, Any, str]:
        """Show the upload, if there is one, without its paint and its mask."""
        mode = check_fit(fit)
        if current is None or current.photo is None:
            return gr.skip(), gr.skip(), ""
        return self._read_photo(str(current.photo.path), mode)

    def complete(  # as many parameters as the page has inputs
        self,
        current: CanvasImage | None,
        canvas: object,
        variations: object,
        seed: object,
        label: object,
        full_size: object,
    ) -> tuple[Any, ...]:
        if current is None:
            return _only_message("there is no image yet: upload one")
        try:
            hole = self.session.hole_from_paint(painted_mask(canvas))
            result = self.session.complete(
                current,
                hole,
                variations=check_number(variations, "the number of variations", 1, MAX_VARIATIONS),
                seed=check_seed(seed),
                label=check_label(label, self.session.model.config.data.label_names),
                full_size=full_size is True,
            )
        except UserError as error:
            return _only_message(str(error))
        return _show(result, self.folder)


def _build_generation_tab(session: DemoSession, folder: Path) -> None:
    with gr.Row():
        with gr.Column():
            num = gr.Slider(1, MAX_SAMPLES, DEFAULT_SAMPLES, step=1, label="Images")
            seed = gr.Number(0, precision=0, label="Seed")
            label = _label_choice(session)
            button = gr.Button("Generate", variant="primary")
        with gr.Column(scale=2):
            results = _result_components("joint")

    def sample(num: object, seed: object, label: object) -> tuple[Any, ...]:
        try:
            result = session.sample(
                check_number(num, "the number of images", 1, MAX_SAMPLES),
                seed=check_seed(seed),
                label=check_label(label, session.model.config.data.label_names),
            )
        except UserError as error:
            return _only_message(str(error))
        return _show(result, folder)

    button.click(sample, [num, seed, label], results, preprocess=False)


def _on_canvas(current: CanvasImage) -> tuple[Any, Any, str]:
    """Values of the state, the canvas and the message for an image to complete."""
    return current, canvas_value(to_pil(current.image), current.hole), "; ".join(current.notes)


def _without_folder(error: UserError, path: str) -> str:
    """The sentence of an error for a person who knows only the file's name."""
    return str(error).replace(path, Path(path).name)


def _result_components(name: str) -> list[Any]:
    """A message, the grid, its command line, and the files that the command reads."""
    return [
        gr.Markdown(elem_id=f"{name}-message"),
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
        gr.Files(
            label="Input files of the command, and photos at their own size",
            visible=False,
            elem_id=f"{name}-files",
        ),
    ]


def _show(result: DemoResult, folder: Path) -> tuple[Any, ...]:
    """Values of the result components; deletes old files and writes new ones."""
    for old in folder.iterdir():
        with suppress(FileNotFoundError):  # another person's press deleted it just now
            if time.time() - old.stat().st_mtime > FILE_LIFETIME:
                shutil.rmtree(old)
    try:
        with writing(folder):
            subfolder = Path(tempfile.mkdtemp(dir=folder))
            for name, image in ({"grid.png": result.grid} | result.files).items():
                image.save(subfolder / name)
            (subfolder / FULL_SIZE).mkdir()  # an upload may be called input.png
            for name, image in result.full_size.items():
                image.save(subfolder / FULL_SIZE / name, **PHOTO_FORMAT)
    except WriteError as error:
        return _only_message(str(error))
    files = [str(subfolder / FULL_SIZE / name) for name in result.full_size]
    files += [str(subfolder / name) for name in result.files]
    return "", str(subfolder / "grid.png"), result.command, gr.Files(files, visible=bool(files))


def _only_message(sentence: str) -> tuple[Any, ...]:
    """Values of the result components: a message and no result."""
    return sentence, None, "", gr.Files(visible=False)


def _label_choice(session: DemoSession) -> gr.Dropdown:
    classes = session.model.config.data.label_names
    return gr.Dropdown(
        label_choices(classes), value=ANY_LABEL, label="Label", visible=bool(classes)
    )
