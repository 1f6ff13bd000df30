"""The page in a real browser.

With the environment variable BIGLEARN_SCREENSHOT the browser saves a picture there; with
BIGLEARN_DATA (see docs_tools.py) it shows MNIST, else digits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from demo_tools import free_port, run
from PIL import Image

from biglearn_gan.config import Config, load_config
from biglearn_gan.data.dataset import ImageDataset
from biglearn_gan.data.loading import load_dataset
from biglearn_gan.demo.app import GRADIO_WARNINGS, serve
from biglearn_gan.demo.session import DemoSession
from biglearn_gan.image_grid import GAP
from biglearn_gan.models.biglearn_gan import BigLearnGAN

ROOT = Path(__file__).parents[2]
NAME = "mnist" if "BIGLEARN_DATA" in os.environ else "digits"
CHECKPOINT = f"checkpoints/{NAME}"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
)
TIMEOUT_MS = 120_000

# pytest restores the filters of `serve` after the first test.
pytestmark = [pytest.mark.filterwarnings(f"ignore:{message}") for message in GRADIO_WARNINGS]


def offered_images() -> ImageDataset:
    root = os.environ.get("BIGLEARN_DATA", "data")
    config = load_config(ROOT / f"experiments/{NAME}.yaml", [f"data.root={root}"])
    return load_dataset(config.data, "test")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as started:
        if found is None and not Path(started.chromium.executable_path).exists():
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
        opened = started.chromium.launch(executable_path=found, args=list(BROWSER_OPTIONS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    model = BigLearnGAN.from_pretrained(ROOT / CHECKPOINT)
    port = free_port()
    session = DemoSession(CHECKPOINT, model, offered_images())
    with serve(session, "127.0.0.1", port) as address:
        yield address


class Page:
    """The page in a browser, used as a person does."""

    def __init__(self, page: Any, url: str):
        self.page = page
        self.hosts: set[str] = set()
        page.on("request", lambda request: self.note(request.url))
        page.set_default_timeout(TIMEOUT_MS)
        page.goto(url)
        self.wait_for_image()
        self.wait_for_canvas()

    def note(self, url: str) -> None:
        """Remember the host of a request."""
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(url).netloc)

    def wait_for_image(self, unlike: str = "none") -> str:
        """Wait until the canvas has an image other than ``unlike``, and return it."""
        style = "() => document.querySelector('#canvas canvas')?.style.backgroundImage"
        self.page.wait_for_function(
            f"(unlike) => ![undefined, '', unlike].includes(({style})())", arg=unlike
        )
        return str(self.page.evaluate(style))

    def wait_for_canvas(self) -> None:
        """Wait until nothing covers the canvas, as gradio's loading screen does at first."""
        self.page.wait_for_function(
            "() => { const canvas = document.querySelector('#canvas canvas');"
            " const { x, y, width, height } = canvas.getBoundingClientRect();"
            " return document.elementFromPoint(x + width / 2, y + height / 2) === canvas; }"
        )

    def paint(self) -> None:
        """Paint a diagonal stroke over the middle."""
        box = self.page.locator("#canvas canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x - 120, y - 120)
        self.page.mouse.down()
        for step in range(20):
            self.page.mouse.move(x - 120 + 12 * step, y - 120 + 12 * step)
        self.page.mouse.up()

    def painted(self) -> float:
        """The share of the canvas that paint covers."""
        return float(
            self.page.evaluate(
                "() => { const canvas = document.querySelector('#canvas canvas');"
                " const size = [canvas.width, canvas.height];"
                " const { data } = canvas.getContext('2d').getImageData(0, 0, ...size);"
                " return data.filter((value, i) => i % 4 === 3 && value > 127).length"
                " / (size[0] * size[1]); }"
            )
        )

    def press(self, button: str, result: str) -> bytes:
        """Press a button, wait for a new result, and return the file of its image."""
        image = self.page.locator(f"#{result} img")
        before = image.get_attribute("src") if image.count() else None
        self.page.get_by_role("button", name=button, exact=True).click()
        self.page.wait_for_function(
            "([id, before]) => { const image = document.querySelector(`#${id} img`);"
            " return image && image.src && image.src !== before && image.complete; }",
            arg=[result, before],
        )
        source = image.get_attribute("src")
        self.note(source)
        return self.page.request.get(source).body()

    def upload(self, button: str, file: Path) -> None:
        """Press a button and choose a file."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=button).click()
        chooser.value.set_files(file)

    def download(self, name: str, path: Path) -> np.ndarray:
        """The pixels of an image file that belongs to the result."""
        link = self.page.locator(f'#completion-files a[href*="{name}"]').first
        return pixels(self.page.request.get(link.get_attribute("href")).body(), path)

    def open_generation_tab(self) -> Any:
        """Open the tab to generate images, and return its panel."""
        self.page.get_by_role("tab", name="Generate").click()
        button = self.page.get_by_role("button", name="Generate")
        return self.page.get_by_role("tabpanel").filter(has=button)

    def text(self, element: str) -> str:
        return self.page.locator(f"#{element}").inner_text()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1180, "height": 980})
    yield Page(opened, url)
    opened.close()


def pixels(data: bytes, path: Path) -> np.ndarray:
    path.write_bytes(data)
    return np.asarray(Image.open(path))


def test_paint_and_complete(
    page: Page, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.paint()
    first = pixels(page.press("Complete", "completion-result"), tmp_path / "first.png")
    if path := os.environ.get("BIGLEARN_SCREENSHOT"):
        page.page.screenshot(path=path, clip={"x": 90, "y": 0, "width": 1000, "height": 900})
    command = page.text("completion-command").splitlines()[-1]
    for name in ("input.png", "mask.png"):
        page.download(name, tmp_path / name)

    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    assert run(command, tmp_path, monkeypatch) == 0
    arrays = np.load(tmp_path / "samples" / "demo" / "samples.npz")
    assert (np.asarray(Image.open(tmp_path / "samples" / "demo" / "grid.png")) == first).all()
    known = ~arrays["masks"][0]
    assert 0.5 < known.mean() < 0.95, f"{1 - known.mean():.0%} is painted"
    source = arrays["sources"][0].squeeze()
    assert (source == offered_images().images_uint8(torch.tensor([0]))[0, 0].numpy()).all()
    for variation in arrays["images"][0]:
        assert (variation.squeeze()[known] == source[known]).all()

    page.page.get_by_label("Seed").first.fill("1")
    second = pixels(page.press("Complete", "completion-result"), tmp_path / "second.png")
    assert second.shape == first.shape
    assert (second != first).any()
    assert page.hosts == {urlsplit(url).netloc}


def test_the_page_says_that_nothing_is_painted_or_an_upload_is_no_image(
    page: Page, tmp_path: Path
) -> None:
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("nothing is painted: paint the area to generate").wait_for()
    wrong = tmp_path / "letter.png"
    wrong.write_text("no image at all")
    page.upload("Upload an image", wrong)
    page.page.get_by_text("letter.png").first.wait_for()
    assert str(tmp_path) not in page.text("completion-message")


def test_the_page_says_that_a_number_is_out_of_range(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    last = len(offered_images()) - 1
    before = page.wait_for_image()
    page.page.get_by_label("number input for Test image").fill("54321")
    page.page.get_by_text(f"the number of a test image must be 0 to {last}, not 54321").wait_for()
    assert page.wait_for_image() == before
    page.paint()
    page.page.get_by_label("Seed").first.fill("-1")
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("the seed must be 0 to 9007199254740991, not -1").wait_for()
    samples = page.open_generation_tab()
    samples.get_by_label("Seed").fill("9007199254740993")
    samples.get_by_role("button", name="Generate").click()
    page.page.locator("#joint-message").get_by_text(
        "the seed must be 0 to 9007199254740991"
    ).wait_for()
    assert "Traceback" not in capfd.readouterr().err


def test_the_result_is_downloaded(page: Page, tmp_path: Path) -> None:
    page.paint()
    shown = pixels(page.press("Complete", "completion-result"), tmp_path / "shown.png")
    with page.page.expect_download() as download:
        page.page.locator("#completion-result").get_by_label("Download").click()
    download.value.save_as(tmp_path / "downloaded.png")
    assert (np.asarray(Image.open(tmp_path / "downloaded.png")) == shown).all()


def test_another_test_image_or_an_upload_replaces_the_first_image(
    page: Page, tmp_path: Path
) -> None:
    def input_of_result() -> np.ndarray:
        page.paint()
        grid = pixels(page.press("Complete", "completion-result"), tmp_path / "grid.png")
        height = grid.shape[0]
        return grid[GAP : height - GAP, GAP : height - GAP]

    images = offered_images()
    size = images.image_size[0]
    before = page.wait_for_image()
    page.page.get_by_label("number input for Test image").fill("3")
    page.page.get_by_label("number input for Test image").press("Enter")
    before = page.wait_for_image(unlike=before)
    shown = input_of_result()
    factor = len(shown) // size
    expected = images.images_uint8(torch.tensor([3]))[0, 0].numpy()
    assert (shown[::factor, ::factor, 0] == expected).all()
    Image.new("L", (size, size), 77).save(tmp_path / "gray.png")
    assert page.painted() > 0
    page.upload("Upload an image", tmp_path / "gray.png")
    page.wait_for_image(unlike=before)
    assert page.painted() == 0
    assert page.text("completion-message") == ""
    assert (input_of_result() == 77).all()
    before = page.wait_for_image()
    Image.new("L", (3 * size, 2 * size), 99).save(tmp_path / "wide.png")
    page.upload("Upload an image", tmp_path / "wide.png")
    page.wait_for_image(unlike=before)
    note = f"the image was resized and center-cropped to {size} x {size}"
    page.page.locator("#completion-message").get_by_text(note).wait_for()
    assert (input_of_result() == 99).all()


def test_photos_and_masks_as_people_have_them(page: Page, tmp_path: Path) -> None:
    """An erased photo, and one with a painted layer, completed at their own size."""
    size = 3 * offered_images().image_size[0]
    photo = np.random.default_rng(0).integers(0, 256, (size, 2 * size, 4), dtype=np.uint8)
    hole = np.zeros((size, 2 * size), dtype=bool)
    hole[size // 4 : size // 2, size : size + size // 4] = True
    share = float(hole.sum() / size**2)  # of the center crop
    photo[..., 3] = np.where(hole, 0, 255)
    Image.fromarray(photo).save(tmp_path / "erased.png")
    Image.fromarray(photo[..., :3]).save(tmp_path / "photo.png")
    layer = np.full((size, 2 * size, 4), 255, dtype=np.uint8)
    layer[..., 3] = np.where(hole, 255, 0)
    Image.fromarray(layer).save(tmp_path / "layer.png")
    page.page.get_by_label("Also complete an upload at its own size").check()
    message = page.page.locator("#completion-message")

    page.upload("Upload an image", tmp_path / "erased.png")
    message.get_by_text("read transparent as the hole").wait_for()
    assert page.painted() == pytest.approx(share, rel=0.01)
    page.press("Complete", "completion-result")
    erased = page.download("erased_1.png", tmp_path / "completed.png")
    assert np.array_equal(erased[~hole], photo[~hole, :3])

    page.upload("Upload an image", tmp_path / "photo.png")
    message.get_by_text("center-cropped").wait_for()  # the press had emptied the message
    page.upload("Upload its mask", tmp_path / "layer.png")
    message.get_by_text("read the white paint as the hole").wait_for()
    assert page.painted() == pytest.approx(share, rel=0.01)
    page.press("Complete", "completion-result")
    completed = page.download("photo_1.png", tmp_path / "completed.png")
    assert np.array_equal(completed, erased)


def test_paint_is_erased_and_cleared(page: Page) -> None:
    page.paint()
    whole = page.painted()
    assert 0.05 < whole < 0.3
    page.page.get_by_label("Brush").fill("6")
    page.page.get_by_label("Erase").check()
    page.paint()
    assert 0.3 * whole < page.painted() < 0.7 * whole
    page.page.get_by_role("button", name="Clear").click()
    assert page.painted() == 0
    page.page.get_by_role("button", name="Complete", exact=True).click()
    page.page.get_by_text("nothing is painted: paint the area to generate").wait_for()


def test_a_page_without_test_images_asks_for_an_upload(
    browser: Any, session: DemoSession, tmp_path: Path
) -> None:
    port = free_port()
    without = DemoSession("my model", session.model, None)
    with serve(without, "127.0.0.1", port) as address:
        opened = browser.new_page(viewport={"width": 1180, "height": 980})
        opened.set_default_timeout(TIMEOUT_MS)
        opened.goto(address)
        opened.get_by_role("button", name="Complete", exact=True).click()
        opened.get_by_text("there is no image yet: upload one").wait_for()
        opened.close()


def test_a_chosen_label_is_in_the_command(
    browser: Any, tiny_config: Callable[..., Config], tiny_dataset: ImageDataset
) -> None:
    session = DemoSession("labeled", BigLearnGAN(tiny_config({"data.labels": True})), tiny_dataset)
    port = free_port()
    with serve(session, "127.0.0.1", port) as address:
        opened = browser.new_page(viewport={"width": 1180, "height": 980})
        page = Page(opened, address)
        page.open_generation_tab().get_by_label("Label").click()
        page.page.get_by_role("option", name="7", exact=True).last.click()
        page.press("Generate", "joint-result")
        assert "--label 7" in page.text("joint-command")
        opened.close()


def test_generate_images(page: Page, url: str, tmp_path: Path) -> None:
    page.open_generation_tab()
    image = pixels(page.press("Generate", "joint-result"), tmp_path / "joint.png")
    assert image.shape[1] > image.shape[0]  # 16 images in two rows of eight
    assert "--num 16" in page.text("joint-command")
    assert page.hosts == {urlsplit(url).netloc}
