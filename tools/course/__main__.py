"""`python -m tools.course`: make the course and say where it is. Ctrl-C is one line, too."""

import os
import sys

from dpo_book.cli import interrupt

STOPPED = "stopped: the course in build/course, if there is one, is whole: the new one or the one before"


def main() -> None:
    """Exit status 1 and one line for what cannot be used."""
    from tools.course.build import COURSE, build
    from tools.course.decks import DeckError
    from tools.course.pictures import PictureError
    from tools.course.place import CourseInUse
    from tools.course.printing import PrintingError
    from tools.course.sources import SourceError
    from tools.site.build import SiteError
    from tools.teacher import TeacherError

    refusals = (CourseInUse, DeckError, PictureError, PrintingError, SiteError, SourceError, TeacherError, OSError)
    try:
        build(COURSE)
    except refusals as error:
        sys.exit(str(error))
    print(f"The course is in {os.path.relpath(COURSE)}: students/index.html, and for the teacher teacher/index.html")


if __name__ == "__main__":
    interrupt.listen(STOPPED)
    try:
        main()
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr, flush=True)
        os._exit(interrupt.STATUS)  # an ordinary end is not quiet: Playwright's driver has heard Ctrl-C, too
