"""Images of one colour, and the colour of a screenshot."""

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
"""All differ clearly from each other, and from white and black."""

SIDE = 64
_TOLERANCE = 12
"""JPEG and colour management change a colour slightly."""


def make_image(colour: Colour, kind: str = "png", side: int = SIDE) -> bytes:
    """Return a square image."""
    if kind == "svg+xml":
        fill = "#{:02x}{:02x}{:02x}".format(*colour)
        square = f'<rect width="{side}" height="{side}" fill="{fill}"/>'
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{side}" height="{side}">{square}</svg>'.encode()
    out = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(out, kind)
    return out.getvalue()


def colour_of(screenshot: bytes) -> Colour:
    """Return the colour in the middle of a screenshot."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    found = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def is_similar(actual: Colour, expected: Colour) -> bool:
    """Return whether two colours are the same, apart from encoding errors."""
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(actual, expected, strict=True))
