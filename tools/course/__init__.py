"""What a teacher takes to a class, in one folder: `python -m tools.course`, or `make course`.

build.py      the folder: what is for students, what for the teacher
decks.py      slides, from teacher/slides
sources.py    slides, notes and pages as they were written
pictures.py   the chapters' recorded figures on them
minutes.py    how long each section of a chapter takes
lecture.py    one deck of several decks' slides
place.py      where the folder stands: students' work stays, and one build at a time
printing.py   slides as PDF
grader.py     a course of nbgrader's: also by itself, `python -m tools.course.grader FOLDER`
"""
