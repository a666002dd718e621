"""The figures of a page, as files beside it: so its words are there before the pictures are."""

import base64
import hashlib
import re
from pathlib import Path

FOLDER = "_static/figures"
INSIDE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=\s]+)"')


def moved_out(html: str, pages: Path) -> str:
    """``html`` with every PNG that it holds written into a file below ``pages``, once however often it is shown."""

    def as_file(found: re.Match) -> str:
        return f'loading="lazy" src="{save(base64.b64decode(found[1]), "png", pages)}"'

    return INSIDE.sub(as_file, html)


def save(picture: bytes, kind: str, pages: Path) -> str:
    """Write a picture where it is not yet; its address as pages in ``pages`` have it. kind: how its name ends.

    The name is a digest of what it shows.
    """
    address = f"{FOLDER}/{hashlib.sha256(picture).hexdigest()[:16]}.{kind}"
    path = pages / address
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    return address
