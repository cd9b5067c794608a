"""Image files as encoders take them: PIL images of a bounded size."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

#: Encoders scale to about 224 pixels a side; more costs memory and says nothing.
MOST_PIXELS_A_SIDE: Final = 1024
#: A small file can hold an image of any size: larger ones are not opened.
MOST_PIXELS: Final = 50_000_000


def open_picture(data: bytes) -> Image.Image | None:
    """The picture in RGB; None if it cannot be read or is too large."""
    try:
        with Image.open(BytesIO(data)) as file:
            if file.width * file.height > MOST_PIXELS:
                return None
            file.draft("RGB", (MOST_PIXELS_A_SIDE, MOST_PIXELS_A_SIDE))  # a JPEG at less
            picture = file.convert("RGB")
        picture.thumbnail((MOST_PIXELS_A_SIDE, MOST_PIXELS_A_SIDE))
    except Exception:  # a damaged file makes PIL raise this and that
        return None
    return picture
