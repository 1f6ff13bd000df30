"""``biglearn-gan demo``: a web page to paint holes on."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Annotated

import typer

from biglearn_gan.cli.options import Checkpoint, DataRoot, Device, input_data_config, load_model
from biglearn_gan.cli.runner import fail


def demo(
    checkpoint: Checkpoint,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve on.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to serve on (default: only this machine can connect).")
    ] = "127.0.0.1",
    device: Device = "cpu",
    data_root: DataRoot = None,
) -> None:
    """Serve a web page to paint holes on.

    It needs gradio: pip install 'biglearn-gan[demo]'.
    """
    try:
        from biglearn_gan.demo.app import check_address, serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        fail("the demo needs gradio: pip install 'biglearn-gan[demo]'")
    check_address(host, port)
    from biglearn_gan.data.image_files import DataError
    from biglearn_gan.data.loading import load_dataset
    from biglearn_gan.demo.session import DemoSession
    from biglearn_gan.devices import usable_device

    model = load_model(checkpoint, usable_device(device))
    try:
        images = load_dataset(input_data_config(model, data_root), "test")
    except DataError as error:
        images = None
        typer.echo(f"the page has no test images, only uploads: {error}")
    with serve(DemoSession(checkpoint, model, images, device), host, port) as url:
        typer.echo(f"{url} (press Ctrl-C to stop)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
