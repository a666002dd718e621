"""`python -m tools.course`: make the course and say where it is."""

import os
import sys

from tools.course.build import COURSE, CourseInUse, build
from tools.course.decks import DeckError
from tools.course.pictures import PictureError
from tools.course.printing import PrintingError
from tools.course.sources import SourceError
from tools.site.build import SiteError
from tools.teacher import TeacherError

REFUSALS = (CourseInUse, DeckError, PictureError, PrintingError, SiteError, SourceError, TeacherError, OSError)

if __name__ == "__main__":
    try:
        build()
    except REFUSALS as error:
        sys.exit(str(error))
    print(f"The course is in {os.path.relpath(COURSE)}: students/index.html, and for the teacher teacher/index.html")
