"""Pictures of one colour, and the colour of what a browser shows."""

import io

from PIL import Image

Colour = tuple[int, int, int]

RED, GREEN, BLUE = (255, 0, 0), (0, 160, 0), (0, 0, 255)
COLOURS: tuple[Colour, ...] = (
    RED,
    GREEN,
    BLUE,
    (255, 255, 0),
    (0, 255, 255),
    (255, 0, 255),
    (128, 0, 0),
    (0, 0, 128),
    (255, 128, 0),
    (128, 128, 128),
    (0, 64, 64),
    (200, 160, 255),
)
"""All far from each other, and from white and black."""

SIDE = 64
_TOLERANCE = 12
"""JPEG and colour management move a colour a little."""


def picture(colour: Colour, kind: str = "png", side: int = SIDE) -> bytes:
    """Make a square picture."""
    if kind == "svg+xml":
        fill = "#{:02x}{:02x}{:02x}".format(*colour)
        square = f'<rect width="{side}" height="{side}" fill="{fill}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}">{square}</svg>'.encode()
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, kind)
    return out.getvalue()


def colour_of(screenshot: bytes) -> Colour:
    """Give the colour of the middle of a screenshot."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def is_like(found: Colour, wanted: Colour) -> bool:
    """Tell whether two colours are the same, but for what coding does to them."""
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(found, wanted, strict=True))
