"""A chapter as a page without a kernel, made by nbconvert: pictures have alt text, and widgets a stand-in."""

from html.parser import HTMLParser

import nbformat
import pytest
from nbconvert import HTMLExporter

from tools.chapter_widgets import WIDGETS, cells_with
from tools.record import NOTEBOOKS

# Figures and quizzes are in all, a live run is in one; what every recording keeps to is in tools/notebook_rules.
CHAPTERS = ["00_what_does_dpo_do", "06_where_does_the_loss_come_from", "07_does_it_get_there"]


class Images(HTMLParser):
    """The alt texts of a page's pictures, in their order; None where one has none."""

    def __init__(self, page):
        super().__init__()
        self.alts = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.alts.append(dict(attributes).get("alt"))


def page_of(notebook):
    exporter = HTMLExporter(template_name="lab", embed_images=False)
    page, _ = exporter.from_notebook_node(notebook)
    return page


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_picture_of_a_page_has_alt_text_and_no_widget_is_a_row_of_names(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    page = page_of(notebook)
    alts = Images(page).alts
    figures = sum(
        "image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])
    )
    sliders = [cell for cell in WIDGETS[name] if "LiveRun" not in cell]
    assert len(alts) == figures + len(sliders)
    assert all(alt and len(alt) > 30 for alt in alts), alts
    assert "No description has been provided" not in page
    assert "(children=(" not in page


@pytest.mark.parametrize("name", WIDGETS)
def test_a_cell_with_sliders_says_on_a_page_how_to_move_them(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for place in cells_with(path, *WIDGETS[name]):
        (output,) = notebook.cells[place].outputs
        assert "Once the cell has run in JupyterLab" in output.data["text/html"]
