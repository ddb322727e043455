"""Paints scenes: 48x48 pixels, anti-aliased, the same for the same scene every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .brush import BLACK, OVER, WHITE, Brush, Colour, mix
from .spoil import SPOILERS, Picture, to_bytes, to_floats
from .subjects import DRAWERS, SUN
from .world import BACKGROUNDS, COLOURS, OWN_DEFECT, SIZE, Scene

GRID = 16
"""Pixel art is drawn with this many pixels across."""


def paint(scene: Scene) -> NDArray[np.uint8]:
    """The scene as (SIZE, SIZE, 3) bytes."""
    rng = np.random.default_rng(scene.seed)
    canvas = Image.new("RGB", (SIZE * OVER, SIZE * OVER))
    brush = _brush(canvas, scene)
    _paint_background(brush, scene, rng)
    _paint_subject(brush, scene, rng)
    picture = _finish(canvas, scene, rng)
    for name, spoiler in SPOILERS.items():
        if name in scene.defects:
            picture = spoiler(picture, rng)
    return to_bytes(picture)


def _brush(canvas: Image.Image, scene: Scene) -> Brush:
    sky = BACKGROUNDS[scene.background][0]
    if scene.style == "line art":
        if scene.background == "night":  # chalk on a blackboard
            return Brush(canvas, paper=(44, 48, 84), ink=WHITE, outline=1.7)
        return Brush(canvas, paper=mix(WHITE, sky, 0.35), ink=BLACK, outline=1.7)
    return Brush(canvas)


def _paint_background(brush: Brush, scene: Scene, rng: np.random.Generator) -> None:
    """Sky and ground, and one thing that tells the place apart."""
    above, below = BACKGROUNDS[scene.background]
    horizon = rng.uniform(0.3, 0.55)
    outline, brush.outline = brush.outline, 0.0
    if brush.paper is not None:
        brush.polygon([(-1, -1), (1, -1), (1, 1), (-1, 1)], brush.paper)
        brush.stroke([(-1.1, horizon), (1.1, horizon)], 0.07, mix(brush.ink, below, 0.5))
    else:
        for step in range(8):  # the sky fades towards the horizon
            top = -1 + (horizon + 1) * step / 8
            brush.polygon([(-1, top), (1, top), (1, 1), (-1, 1)], mix(above, WHITE, 0.04 * step))
        brush.polygon([(-1, horizon), (1, horizon), (1, 1), (-1, 1)], below)
    brush.outline = outline
    _paint_place(brush, scene.background, horizon, rng)


def _paint_place(brush: Brush, background: str, horizon: float, rng: np.random.Generator) -> None:
    side = 1 if rng.random() < 0.5 else -1
    if background == "night":
        brush.ellipse(0.72 * side, -0.72, 0.16, 0.16, (246, 240, 206))
        for _ in range(5):
            brush.ellipse(rng.uniform(-0.9, 0.9), rng.uniform(-0.95, 0.0), 0.04, 0.04, WHITE, solid=True)
    elif background == "sunset":
        brush.ellipse(0.66 * side, horizon, 0.24, 0.24, SUN)
        brush.polygon([(-1, horizon), (1, horizon), (1, 1), (-1, 1)], BACKGROUNDS["sunset"][1])
    elif background == "meadow":
        for x in (-0.75, -0.3, 0.25, 0.8):
            brush.stroke([(x, 0.86), (x + 0.1, 0.7)], 0.07, (70, 140, 60))
    elif background == "beach":
        brush.polygon([(-1, horizon), (1, horizon), (1, horizon + 0.16), (-1, horizon + 0.16)], (60, 150, 200))
    elif background == "snow":
        for _ in range(9):
            brush.ellipse(
                rng.uniform(-0.95, 0.95), rng.uniform(-0.95, horizon), 0.06, 0.06, WHITE, solid=brush.paper is None
            )
    else:
        for _ in range(5):
            brush.ellipse(0.85 * side + rng.uniform(-0.12, 0.12), rng.uniform(-0.9, 0.5), 0.08, 0.08, (190, 232, 236))


def _paint_subject(brush: Brush, scene: Scene, rng: np.random.Generator) -> None:
    """Once in the middle; twice and smaller, or large and half outside, where it has these defects."""
    draw, own = DRAWERS[scene.subject], OWN_DEFECT[scene.subject] in scene.defects
    colour = _vary(COLOURS[scene.colour], rng)
    mirror = bool(rng.random() < 0.5)
    x, y = rng.uniform(-0.08, 0.08, size=2)
    if "cropped" in scene.defects:
        side = 1 if rng.random() < 0.5 else -1
        spots = [(side * rng.uniform(0.62, 0.78), y + rng.uniform(0.3, 0.45), 1.0)]
    elif "duplicate" in scene.defects:
        spots = [(-0.5 + x / 2, y, 0.46), (0.5 + x / 2, y, 0.46)]
    else:
        spots = [(x, y + 0.06, rng.uniform(0.68, 0.8))]
    for x, y, scale in spots:
        brush.place(x, y, scale, mirror)
        draw(brush, colour, own)


def _vary(colour: Colour, rng: np.random.Generator) -> Colour:
    return mix(colour, WHITE if rng.random() < 0.5 else BLACK, rng.uniform(0.0, 0.12))


def _finish(canvas: Image.Image, scene: Scene, rng: np.random.Generator) -> Picture:
    """From the large canvas to a picture in the scene's style."""
    if scene.style == "pixel art":
        small = canvas.resize((GRID, GRID), Image.Resampling.BOX)
        levels = np.round(np.clip((to_floats(small) - 0.5) * 1.25 + 0.5, 0.0, 1.0) * 4) / 4
        return np.kron(levels, np.ones((SIZE // GRID, SIZE // GRID, 1))).astype(np.float32)
    if scene.style == "watercolour":
        canvas = canvas.filter(ImageFilter.GaussianBlur(0.6 * OVER))
    picture = to_floats(canvas.reduce(OVER))
    if scene.style == "watercolour":
        return _watercolour(picture, rng)
    if scene.style == "black and white":
        grey = picture @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.repeat(np.clip((grey - 0.5) * 1.3 + 0.5, 0.0, 1.0)[..., None], 3, axis=2)
    return picture


def _watercolour(picture: Picture, rng: np.random.Generator) -> Picture:
    """Pale paint that pools in blotches, on paper that stays white around the edge."""
    blotches = rng.uniform(0.0, 1.0, size=(6, 6)).astype(np.float32)
    pools = np.asarray(Image.fromarray(blotches).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    amount = 0.45 + 0.55 * pools[..., None]
    across = np.linspace(-1, 1, SIZE)
    wobble = (pools - 0.5) * 0.3
    distance = np.maximum(np.abs(across)[:, None], np.abs(across)[None, :]) + wobble
    paper = np.clip((distance - 0.78) / 0.1, 0.0, 1.0)[..., None]
    painted = 1 - (1 - picture) * amount
    return (painted * (1 - paper) + 0.99 * paper).astype(np.float32)
