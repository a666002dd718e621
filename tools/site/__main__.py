"""`python -m tools.site`: build the book and say where it is."""

import os
import sys

from tools.site.build import SiteError, build

if __name__ == "__main__":
    try:
        html = build()
    except SiteError as error:
        sys.exit(str(error))
    print(f"The book is in {os.path.relpath(html)}/index.html")
