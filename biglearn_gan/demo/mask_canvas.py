"""The canvas of the demo page: an image, and paint over it that marks the hole.

Its value in Python is ``{"image": data URL of a PNG, "hole": rows of "0" and "1", "paint": data
URL of a PNG or ""}``. A hole that Python names is painted when the value arrives, and any stroke
turns it into paint. (The editor of gradio 6.31 cannot be used: it uploads itself again and again
after its value was read, and the page waits for it.)
"""

from __future__ import annotations

import base64
import io
from typing import Any

import gradio as gr
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from biglearn_gan.data.image_files import UNREADABLE
from biglearn_gan.demo.entries import broken_request
from biglearn_gan.image_grid import HOLE_COLOR

BRUSH_PERCENT = 12
"""Initial width of the brush, in percent of the canvas."""

_HTML = """
<p>Paint the area to generate</p>
<canvas width="${width}" height="${height}"></canvas>
<div>
  <label>Brush <input type="range" min="2" max="40" value="${brush}"></label>
  <label><input type="checkbox"> Erase</label>
  <button type="button">Clear</button>
</div>
"""

_CSS = """
canvas {
  background-size: 100% 100%; image-rendering: pixelated; touch-action: none; cursor: crosshair;
  max-width: 100%; border: 1px solid var(--border-color-primary);
}
div { display: flex; gap: 1.5em; align-items: center; margin-top: 0.5em; }
label { display: flex; gap: 0.5em; align-items: center; }
"""

_SCRIPT = """
const canvas = element.querySelector("canvas");
const [width, eraser] = element.querySelectorAll("input");
const brush = canvas.getContext("2d");
let last = null;

const keep = (paint) => { props.value = { image: props.value.image, hole: [], paint }; };
const wipe = () => brush.clearRect(0, 0, canvas.width, canvas.height);
const fill = (hole) => hole.forEach((row, y) => [...row].forEach((pixel, x) => {
  const width = canvas.width / row.length, height = canvas.height / hole.length;
  if (pixel === "1") brush.fillRect(x * width, y * height, width, height);
}));
const show = () => {
  canvas.style.backgroundImage = props.value.image ? `url(${props.value.image})` : "none";
  if (props.value.paint) return;
  wipe();
  brush.globalCompositeOperation = "source-over";
  brush.fillStyle = props.color;
  fill(props.value.hole);
};
const place = (event) => {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  ];
};
const stroke = (event) => {
  const next = place(event);
  brush.globalCompositeOperation = eraser.checked ? "destination-out" : "source-over";
  brush.strokeStyle = props.color;
  brush.lineWidth = (width.value * canvas.width) / 100;
  brush.lineCap = "round";
  brush.beginPath();
  brush.moveTo(...last);
  brush.lineTo(...next);
  brush.stroke();
  last = next;
};

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  last = place(event);
  stroke(event);
});
canvas.addEventListener("pointermove", (event) => { if (last) stroke(event); });
const lift = () => { if (last) { last = null; keep(canvas.toDataURL()); } };
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
element.querySelector("button").addEventListener("click", () => { wipe(); keep(""); });
watch("value", show);
show();
"""


SEND_PAINT = """
(image, canvas, ...rest) => {
  const painted = document.querySelector("#canvas canvas");
  const { data } = painted.getContext("2d").getImageData(0, 0, painted.width, painted.height);
  const paint = data.some((value, i) => i % 4 === 3 && value > 0) ? painted.toDataURL() : "";
  return [image, { image: canvas.image, hole: [], paint }, ...rest];
}
"""
"""Runs in the browser at a press: sends the paint on the canvas along with the other inputs.

The value of the canvas may lag behind its paint on a busy machine."""


def mask_canvas(image: Image.Image | None, size: tuple[int, int], elem_id: str) -> gr.HTML:
    """Make a canvas of ``size`` = (width, height) pixels that shows an image of any size."""
    width, height = size
    return gr.HTML(
        canvas_value(image),
        html_template=_HTML,
        css_template=_CSS,
        js_on_load=_SCRIPT,
        width=width,
        height=height,
        brush=BRUSH_PERCENT,
        color="#" + "".join(f"{part:02x}" for part in HOLE_COLOR),
        elem_id=elem_id,
    )


def canvas_value(
    image: Image.Image | None, hole: Bool[Tensor, "H W"] | None = None
) -> dict[str, Any]:
    """The value of a canvas with an image, and with paint on the hole alone.

    Args:
        image: of any size, or None for an empty canvas.
        hole: True = painted; its height and width must divide those of the canvas.
    """
    rows = [] if hole is None else ["".join(map(str, row)) for row in hole.int().tolist()]
    if image is None:
        return {"image": "", "hole": rows, "paint": ""}
    file = io.BytesIO()
    image.save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    return {"image": f"data:image/png;base64,{encoded}", "hole": rows, "paint": ""}


def painted_mask(value: object) -> Image.Image | None:
    """The paint in the value of a canvas, RGBA of the canvas's size; None without paint.

    Raises:
        gradio.Error: it is no image.
    """
    paint = value.get("paint") if isinstance(value, dict) else None
    if not isinstance(paint, str):
        raise broken_request(
            "the paint is missing: send the data URL of a PNG image, or an empty string"
        )
    if not paint:
        return None
    _, _, encoded = paint.partition("base64,")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))
        image.load()
    except UNREADABLE:
        raise broken_request("the paint is not the data URL of a PNG image") from None
    return image
