"""How each subject is drawn, with and without the defect that only it can have.

A drawer gets the brush (already in place), the subject's colour and whether it has its own defect; the
subject fills about -1..1 both ways, y down, its feet at y = 1.
"""

from __future__ import annotations

from collections.abc import Callable

from .brush import BLACK, WHITE, Brush, Colour, mix

SUN: Colour = (255, 224, 84)
GLOW: Colour = (226, 112, 32)
"""Around the sun, so that it shows on a bright sky in grey as well."""
WOOD: Colour = (122, 82, 52)
LEAF: Colour = (58, 138, 62)
SKIN: Colour = (246, 206, 170)


def face(brush: Brush, colour: Colour, own: bool) -> None:
    """A head; the colour is its hair's and shirt's."""
    brush.ellipse(0.0, 1.0, 0.72, 0.36, colour)
    brush.ellipse(0.0, -0.2, 0.82, 0.82, colour)
    brush.ellipse(0.0, 0.02, 0.64, 0.72, SKIN)
    brush.polygon([(-0.6, -0.28), (-0.35, -0.72), (0.35, -0.72), (0.6, -0.28), (0.0, -0.46)], colour)
    for x in (-0.28, 0.28):
        brush.ellipse(x, 0.0, 0.15, 0.13, WHITE)
        brush.ellipse(x, 0.01, 0.09, 0.1, BLACK, solid=True)
    if own:
        brush.ellipse(0.0, -0.42, 0.27, 0.24, WHITE)
        brush.ellipse(0.0, -0.41, 0.15, 0.17, BLACK, solid=True)
    brush.polygon([(-0.27, 0.36), (0.27, 0.36), (0.14, 0.52), (-0.14, 0.52)], (178, 40, 48), solid=True)


def house(brush: Brush, colour: Colour, own: bool) -> None:
    """Walls of the colour under a dark roof; its own defect leans it."""
    if own:
        brush.shear = 0.85
    brush.polygon([(-0.7, -0.1), (0.7, -0.1), (0.7, 0.95), (-0.7, 0.95)], colour)
    brush.polygon([(-0.95, -0.05), (0.0, -0.9), (0.95, -0.05)], mix(colour, (60, 34, 34), 0.72))
    brush.polygon([(-0.16, 0.4), (0.2, 0.4), (0.2, 0.95), (-0.16, 0.95)], WOOD)
    for x in (-0.5, 0.36):
        brush.polygon([(x, 0.1), (x + 0.24, 0.1), (x + 0.24, 0.36), (x, 0.36)], (255, 240, 170))
    brush.shear = 0.0


def tree(brush: Brush, colour: Colour, own: bool) -> None:
    """A round crown of the colour on a trunk; broken, the crown lies beside the stump."""
    if own:
        brush.polygon([(-0.3, 1.0), (-0.3, 0.25), (-0.12, 0.5), (0.04, 0.15), (0.1, 1.0)], WOOD)
        brush.stroke([(-0.12, 0.3), (0.45, 0.5)], 0.26, WOOD)
        for x, y, r in ((0.62, 0.38, 0.4), (0.9, 0.7, 0.34), (0.45, 0.76, 0.3)):
            brush.ellipse(x, y, r, r, colour)
        return
    brush.polygon([(-0.18, 1.0), (-0.14, 0.1), (0.14, 0.1), (0.18, 1.0)], WOOD)
    for x, y, r in ((-0.4, -0.1, 0.42), (0.4, -0.1, 0.42), (0.0, -0.45, 0.52)):
        brush.ellipse(x, y, r, r, colour)
    brush.ellipse(-0.1, -0.5, 0.2, 0.18, mix(colour, WHITE, 0.25), solid=brush.paper is None)


def mountains(brush: Brush, colour: Colour, own: bool) -> None:
    """Two peaks of the colour with snow, and a sun; or two."""
    for side in (1, -1) if own else (1,):
        brush.ellipse(0.62 * side, -0.62, 0.34, 0.34, GLOW)
        brush.ellipse(0.62 * side, -0.62, 0.25, 0.25, SUN)
    brush.polygon([(-0.1, 0.9), (0.55, -0.15), (1.25, 0.9)], mix(colour, BLACK, 0.3))
    brush.polygon([(-1.2, 0.9), (-0.25, -0.6), (0.65, 0.9)], colour)
    brush.polygon([(-0.5, -0.2), (-0.25, -0.6), (-0.02, -0.22), (-0.22, -0.05)], WHITE)


def boat(brush: Brush, colour: Colour, own: bool) -> None:
    """A hull of the colour and white sails on a strip of water; sinking, it stands on end in it."""
    water: Colour = (44, 108, 176)
    if own:
        brush.polygon([(-0.5, 0.9), (-0.28, -0.75), (0.0, -0.9), (0.32, 0.9)], colour)
        brush.stroke([(0.05, 0.1), (0.85, 0.4)], 0.12, WOOD)
        brush.polygon([(0.15, 0.12), (0.85, 0.36), (0.3, 0.62)], WHITE)
        brush.polygon([(-1.6, 0.45), (1.6, 0.45), (1.6, 1.15), (-1.6, 1.15)], water)
        return
    brush.stroke([(0.0, 0.4), (0.0, -0.9)], 0.1, WOOD)
    brush.polygon([(0.1, -0.85), (0.78, 0.22), (0.1, 0.22)], WHITE)
    brush.polygon([(-0.1, -0.65), (-0.62, 0.22), (-0.1, 0.22)], mix(WHITE, colour, 0.25))
    brush.polygon([(-0.95, 0.34), (0.95, 0.34), (0.6, 0.85), (-0.6, 0.85)], colour)
    brush.polygon([(-1.6, 0.74), (1.6, 0.74), (1.6, 1.15), (-1.6, 1.15)], water)


def cat(brush: Brush, colour: Colour, own: bool) -> None:
    """Sitting, seen from the front, its tail on one side; or one on each."""
    for side in (1, -1) if own else (1,):
        brush.stroke([(0.3 * side, 0.8), (0.78 * side, 0.62), (0.88 * side, 0.15), (0.72 * side, -0.2)], 0.24, colour)
    brush.ellipse(0.0, 0.55, 0.46, 0.48, colour)
    for side in (1, -1):
        brush.polygon([(0.12 * side, -0.5), (0.5 * side, -1.0), (0.56 * side, -0.2)], colour)
    brush.ellipse(0.0, -0.22, 0.56, 0.46, colour)
    for side in (1, -1):
        brush.ellipse(0.23 * side, -0.28, 0.12, 0.13, (220, 240, 120), solid=brush.paper is None)
        brush.ellipse(0.23 * side, -0.28, 0.06, 0.12, BLACK, solid=True)
    brush.polygon([(-0.1, -0.06), (0.1, -0.06), (0.0, 0.06)], (60, 24, 30), solid=True)
    brush.ellipse(0.0, 0.62, 0.2, 0.26, mix(colour, WHITE, 0.55), solid=brush.paper is None)


def flower(brush: Brush, colour: Colour, own: bool) -> None:
    """Petals of the colour on a stem; wilted, it hangs its brown head."""
    if own:
        brown = mix(colour, (104, 76, 44), 0.7)
        brush.stroke([(-0.3, 1.0), (-0.25, -0.3), (0.05, -0.65), (0.4, -0.5), (0.5, -0.1)], 0.13, (122, 120, 60))
        for x, y in ((0.22, 0.12), (0.5, 0.3), (0.78, 0.12)):
            brush.ellipse(x, y, 0.17, 0.34, brown)
        brush.ellipse(0.5, -0.02, 0.24, 0.18, mix(brown, BLACK, 0.4))
        brush.ellipse(-0.05, 0.9, 0.26, 0.12, brown)
        return
    brush.stroke([(0.0, 1.0), (0.0, 0.0)], 0.13, LEAF)
    brush.ellipse(0.3, 0.68, 0.28, 0.14, LEAF)
    brush.ellipse(-0.3, 0.82, 0.28, 0.14, LEAF)
    for x, y in ((0.0, -0.78), (0.42, -0.48), (0.27, 0.0), (-0.27, 0.0), (-0.42, -0.48)):
        brush.ellipse(x, y, 0.28, 0.28, colour)
    brush.ellipse(0.0, -0.36, 0.25, 0.25, (96, 58, 30))


def fish(brush: Brush, colour: Colour, own: bool) -> None:
    """Swimming to one side, with a striped flank; or a second head where the tail should be."""
    fin = mix(colour, BLACK, 0.25)
    brush.polygon([(-0.3, -0.35), (0.15, -0.85), (0.35, -0.3)], fin)
    brush.polygon([(-0.2, 0.35), (0.1, 0.75), (0.3, 0.3)], fin)
    if own:
        brush.ellipse(0.0, 0.0, 0.5, 0.42, colour)
        for side in (1, -1):
            brush.polygon(
                [(0.2 * side, -0.5), (1.0 * side, -0.12), (0.72 * side, 0.02), (1.0 * side, 0.2), (0.2 * side, 0.5)],
                colour,
            )
    else:
        brush.polygon([(-0.4, 0.0), (-1.0, -0.55), (-0.86, 0.0), (-1.0, 0.55)], fin)
        brush.ellipse(0.1, 0.0, 0.8, 0.46, colour)
    brush.polygon([(-0.1, -0.4), (0.1, -0.4), (0.1, 0.4), (-0.1, 0.4)], mix(colour, WHITE, 0.55))
    for side in (1, -1) if own else (1,):
        brush.ellipse(0.5 * side, -0.12, 0.15, 0.15, WHITE)
        brush.ellipse(0.53 * side, -0.12, 0.08, 0.08, BLACK, solid=True)


DRAWERS: dict[str, Callable[[Brush, Colour, bool], None]] = {
    "face": face,
    "house": house,
    "tree": tree,
    "mountains": mountains,
    "boat": boat,
    "cat": cat,
    "flower": flower,
    "fish": fish,
}
