"""`python -m tools.site`: build the book and say where it is."""

import os
import sys

from tools.site.build import BUILD, SiteError, build
from tools.site.recordings import RecordingError, recorded

if __name__ == "__main__":
    try:
        html = build(BUILD, recorded(BUILD / "recorded"))
    except (SiteError, RecordingError) as error:
        sys.exit(str(error))
    print(f"The book is in {os.path.relpath(html)}/index.html")
