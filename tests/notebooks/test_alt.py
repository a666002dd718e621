"""A picture keeps its alt text in JupyterLab when its cell runs, and under a slider (recorded: test_accessible)."""

from tests.browser import lab_page
from tools.chapter_widgets import NOTEBOOKS, SETUP, cells_up_to, cells_with

CHAPTER = NOTEBOOKS / "06_where_does_the_loss_come_from.ipynb"  # its figure and its slider need nothing trained


def test_a_slider_s_picture_has_the_alt_text_of_what_it_shows():
    (setup,), (figure,) = cells_with(CHAPTER, SETUP), cells_with(CHAPTER, "plots.loss_and_weight(beta=")
    slider = cells_up_to(CHAPTER, "slider_figure(")[-1]
    with lab_page(CHAPTER) as lab:
        lab.run_cells([setup, figure, slider])
        picture = lab.picture(slider)
        shown = lab.cell(figure).locator("img").first.get_attribute("alt")  # while it is drawn anew there may be two
        first, before = picture.get_attribute("alt"), picture.get_attribute("src")
        lab.press(slider, "End")
        lab.wait_changed(picture, before)
        moved = picture.get_attribute("alt")
        assert shown == first != moved
        assert all(alt.startswith("At β = ") for alt in (shown, first, moved))
