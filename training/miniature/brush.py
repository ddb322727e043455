"""Shapes on a canvas, as each style draws them.

Subjects and backgrounds ask for polygons, ellipses and strokes in coordinates of their own; the brush
places them and decides about fill and outline. It paints at `OVER` times the final size, which gives
smooth edges when the picture is made small.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

OVER = 4


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` of `b` in it."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


WHITE: Colour = (255, 255, 255)
BLACK: Colour = (18, 18, 22)


class Brush:
    """Draws in local coordinates, where the subject fills -1..1 both ways, y down."""

    def __init__(self, canvas: Image.Image, *, paper: Colour | None = None, ink: Colour = BLACK, outline: float = 0.0):
        """`paper`: the fill of every shape, if shapes are only outlined. `outline`: width, in pixels of the
        final picture."""
        self.draw = ImageDraw.Draw(canvas)
        self.paper, self.ink = paper, ink
        self.outline = outline * OVER
        self.unit = canvas.width / 2
        self.centre: Point = (self.unit, self.unit)
        self.scale, self.mirror, self.shear = 1.0, 1, 0.0

    def place(self, x: float, y: float, scale: float, mirror: bool = False, shear: float = 0.0) -> None:
        """Put the local origin at (x, y) of the whole picture (-1..1); `shear` leans it sideways."""
        self.centre = (self.unit * (1 + x), self.unit * (1 + y))
        self.scale, self.mirror, self.shear = scale, -1 if mirror else 1, shear

    def polygon(self, points: Sequence[Point], colour: Colour, *, solid: bool = False) -> None:
        """A filled shape; `solid` details are filled in every style."""
        spots = [self._at(point) for point in points]
        self.draw.polygon(spots, fill=self._fill(colour, solid))
        if self.outline and not solid:
            self.draw.line(
                [*spots, spots[0], spots[1]], fill=self._ink(colour), width=round(self.outline), joint="curve"
            )

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, solid: bool = False) -> None:
        """Around (x, y) with radii rx, ry."""
        (cx, cy), k = self._at((x, y)), self.unit * self.scale
        box = (cx - rx * k, cy - ry * k, cx + rx * k, cy + ry * k)
        if self.outline and not solid:
            self.draw.ellipse(box, fill=self._fill(colour, solid), outline=self._ink(colour), width=round(self.outline))
        else:
            self.draw.ellipse(box, fill=self._fill(colour, solid))

    def stroke(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """A thick line with round ends; `width` in local units."""
        thick = width * self.unit * self.scale
        spots = [self._at(point) for point in points]
        if self.outline:
            self._line(spots, thick + 2 * self.outline * 0.6, self._ink(colour))
            thick = max(thick - 0.8 * self.outline, 1.0)
        self._line(spots, thick, self._fill(colour, False))

    def _line(self, spots: list[Point], thick: float, colour: Colour) -> None:
        self.draw.line(spots, fill=colour, width=max(1, round(thick)), joint="curve")
        for x, y in (spots[0], spots[-1]):
            self.draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=colour)

    def _at(self, point: Point) -> Point:
        x, y = point
        x += self.shear * (1 - y) / 2
        return (
            self.centre[0] + self.mirror * x * self.unit * self.scale,
            self.centre[1] + y * self.unit * self.scale,
        )

    def _fill(self, colour: Colour, solid: bool) -> Colour:
        if self.paper is None:
            return colour
        return self._ink(colour) if solid else mix(self.paper, colour, 0.12)

    def _ink(self, colour: Colour) -> Colour:
        """Outlines carry some of the colour of what they enclose."""
        return mix(self.ink, colour, 0.45) if self.paper is not None else self.ink
