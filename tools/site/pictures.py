"""The figures of a page, as files beside it: so its words are there before the pictures are."""

import base64
import hashlib
import io
import re
from pathlib import Path

from PIL import Image

FOLDER = "_static/figures"
INSIDE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=\s]+)"')


def moved_out(html: str, pages: Path) -> str:
    """``html`` with every PNG that it holds written into a file below ``pages``, once however often it is shown."""

    def as_file(found: re.Match) -> str:
        picture = as_webp(base64.b64decode(found[1]))
        address = f"{FOLDER}/{named(picture, 'webp')}"
        (pages / FOLDER).mkdir(parents=True, exist_ok=True)
        (pages / address).write_bytes(picture)
        return f'loading="lazy" src="{address}"'

    return INSIDE.sub(as_file, html)


def as_webp(png: bytes) -> bytes:
    """The same pixels in two thirds of the bytes."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(file, format="webp", lossless=True, quality=50)
    return file.getvalue()


def named(picture: bytes, kind: str) -> str:
    """A file's name for a picture: a digest of it, and ``kind``, how names of such files end."""
    return f"{hashlib.sha256(picture).hexdigest()[:16]}.{kind}"
