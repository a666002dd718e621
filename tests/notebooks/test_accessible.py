"""Every chapter as it is committed, on a projector of 1024 × 768 pixels: nothing is cut, pictures have alt text, and
axe-core is content.

What widgets add once they run is tested in test_browser.
"""

from tests.browser import lab_page
from tools.chapter_widgets import NOTEBOOKS

CHAPTERS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
# What axe-core looks at is the same in all: tables, figures, quizzes, exercises, a live run. So three are enough.
ALTS = "images => images.map(image => image.getAttribute('alt') || '')"
READ_ALOUD = {"00_what_does_dpo_do", "07_does_it_get_there", "09_rlhf_or_dpo"}


def without_alt(page):
    """What is wrong with the pictures' alt texts, in the notebook that is shown."""
    alts = page.eval_on_selector_all(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea img", ALTS)
    if len(alts) < 2:
        return ["no pictures are seen"]
    return [f"a picture whose alt text is {alt!r}" for alt in alts if len(alt) <= 30]


def test_a_chapter_can_be_projected_and_read_aloud():
    found = {}
    with lab_page(NOTEBOOKS / f"{CHAPTERS[0]}.ipynb", width=1024, height=768) as lab:
        for name in CHAPTERS:
            lab.open(name)
            found[name] = lab.too_wide() + without_alt(lab.page)
            if name in READ_ALOUD:
                found[name] += lab.violations(colours=name == CHAPTERS[0])
    problems = [f"{name}: {problem}" for name in CHAPTERS for problem in found[name]]
    assert not problems, "\n".join(problems)
