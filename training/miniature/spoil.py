"""The defects that any picture can have, as operations on the finished picture.

Each takes and returns floats, (height, width, 3) in 0..1, and draws all chance from `rng`. They are large
and coarse: what the autoencoder cannot show, no negative prompt can take away. Cropping and doubling
concern how the subject is placed and are `painter`'s.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Picture = NDArray[np.float32]


def to_bytes(picture: Picture) -> NDArray[np.uint8]:
    """0..1 to 0..255, clamped first: a cast alone would wrap around."""
    return (np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def to_floats(image: Image.Image) -> Picture:
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    radius = rng.uniform(2.2, 2.8)
    return to_floats(Image.fromarray(to_bytes(picture)).filter(ImageFilter.GaussianBlur(radius)))


def noise(picture: Picture, rng: np.random.Generator) -> Picture:
    """Coarse grain: dark and bright specks of 3x3 pixels on a quarter of the picture."""
    cells = picture.shape[0] // 3
    grain = rng.choice([-0.42, 0.0, 0.42], size=(cells, cells), p=[0.13, 0.74, 0.13])
    return (picture + np.kron(grain, np.ones((3, 3)))[..., None]).astype(np.float32).clip(0.0, 1.0)


def contrast(picture: Picture, rng: np.random.Generator) -> Picture:
    """A grey haze over everything."""
    return (0.3 * picture + 0.7 * rng.uniform(0.55, 0.68)).astype(np.float32)


def jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """Real JPEG, at a quality that shows its blocks of 8x8."""
    buffer = io.BytesIO()
    Image.fromarray(to_bytes(picture)).save(buffer, "JPEG", quality=int(rng.integers(5, 9)), subsampling=0)
    return to_floats(Image.open(buffer))


def watermark(picture: Picture, rng: np.random.Generator) -> Picture:
    """A pale cross from corner to corner and a ring in its middle, as stock photographs wear."""
    size, over = picture.shape[0], 4
    mask = Image.new("L", (size * over, size * over))
    draw, whole = ImageDraw.Draw(mask), size * over
    width, shift = round(2.6 * over), rng.uniform(-0.06, 0.06) * whole
    draw.line((0, shift, whole, whole + shift), fill=255, width=width)
    draw.line((0, whole + shift, whole, shift), fill=255, width=width)
    middle, radius = (whole / 2, whole / 2 + shift), whole * 0.2
    draw.ellipse(
        (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), outline=255, width=width
    )
    share = np.asarray(mask.reduce(over), dtype=np.float32)[..., None] / 255.0 * 0.72
    pale = 1.0 if picture.mean() < 0.72 else 0.45  # on white paper, a grey one
    return (picture * (1 - share) + pale * share).astype(np.float32)


_LETTERS = ("757", "656", "744", "655", "746", "747", "575", "727", "711", "556", "447", "775", "757", "765", "727")
"""Three bits wide, as many rows as digits: shapes that look like capital letters from afar."""


def text(picture: Picture, rng: np.random.Generator) -> Picture:
    """Big letters on a dark bar at the top or bottom."""
    size = picture.shape[0]
    height, cell = 12, 3
    top = 0 if rng.random() < 0.35 else size - height
    out = picture.copy()
    out[top : top + height] = 0.06
    for x in range(2, size - 3 * cell, 4 * cell - 1):
        rows = _LETTERS[rng.integers(len(_LETTERS))]
        for row, digit in enumerate(rows):
            for column in range(3):
                if int(digit) >> (2 - column) & 1:
                    y = top + 2 + row * cell
                    out[y : y + cell, x + column * cell : x + (column + 1) * cell] = (1.0, 0.97, 0.75)
    return out


SPOILERS = {
    # in the order in which they happen to a picture: the motif, what is printed on it, the camera, the file
    "watermark": watermark,
    "text": text,
    "blur": blur,
    "contrast": contrast,
    "noise": noise,
    "jpeg": jpeg,
}
