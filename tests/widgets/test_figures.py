"""Sliders over a figure, without a browser: it is drawn at both ends, and what it raises is shown."""

import base64

import matplotlib
import pytest

from dpo_book import plots
from dpo_book.widgets import FloatSlider, IntSlider, slider_figure


def test_a_slider_redraws_at_both_ends():
    seen = []

    def figure(beta):
        seen.append(beta)
        return plots.probability_mass(["a", "b"], [0.5, 0.5], [beta / 10, 1 - beta / 10])

    slider = FloatSlider(value=1.0, min=0.0, max=10.0)
    box = slider_figure(figure, beta=slider)
    picture = box.children[-1]
    pictures = [picture.png]
    for end in (slider.min, slider.max):
        slider.value = end
        pictures.append(picture.png)
    assert seen == [1.0, 0.0, 10.0]
    assert all(p.startswith(b"\x89PNG") for p in pictures) and len(set(pictures)) == 3


def bars(height):
    return plots.probability_mass(["a", "b"], [0.5, 0.5], [1 / height, 1 - 1 / height])


def test_what_a_figure_raises_stands_in_its_place_until_it_can_be_drawn():
    slider = IntSlider(value=2, min=0, max=4)
    box = slider_figure(bars, height=slider)
    before = box.image.png
    slider.value = 0
    sliders = box.children[0]
    assert sliders.children == (slider,)
    assert box.children == (sliders, box.error)
    assert box.error.value == "ZeroDivisionError: division by zero"
    slider.value = 4
    assert box.children == (sliders, box.image)
    assert box.image.png not in (b"", before)


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), SystemExit("two lines")], ids=["error", "exit"])
def test_an_error_of_several_lines_is_shown_in_one(error):
    def figure(height):
        if height == 0:
            raise error
        return bars(height)

    slider = IntSlider(value=2, min=0, max=4)
    box = slider_figure(figure, height=slider)
    slider.value = 0
    assert box.error.value == f"{type(error).__name__}: two lines"


def test_what_a_figure_raises_is_shown_as_it_is():
    def figure(height):
        if height == 0:
            raise ValueError("1 < 2 & <b>")
        return bars(height)

    slider = IntSlider(value=2, min=0, max=4)
    box = slider_figure(figure, height=slider)
    slider.value = 0
    assert box.error.value == "ValueError: 1 &lt; 2 &amp; &lt;b&gt;"


def test_a_figure_that_cannot_be_drawn_at_first_is_an_error_of_the_cell():
    with pytest.raises(ZeroDivisionError):
        slider_figure(bars, height=IntSlider(value=0))


def test_a_picture_has_its_figures_alt_text():
    slider = IntSlider(value=2, min=1, max=4)
    box = slider_figure(bars, height=slider)
    for height in (2, 4):
        slider.value = height
        assert f'<img alt="{bars(height).get_label()}" ' in box.image.value


def test_a_readers_style_does_not_reach_the_pictures_of_sliders():
    with matplotlib.style.context("dark_background"):
        dark = slider_figure(bars, height=IntSlider(value=2))
    assert dark.image.png == plots.png(bars(2))


def test_sliders_can_be_seen_without_a_kernel():
    slider = FloatSlider(value=2.0, min=0, max=4, description="height <h>")
    box = slider_figure(bars, height=slider)
    page = box._repr_mimebundle_()["text/html"]
    assert f'alt="{bars(2).get_label()}"' in page
    assert base64.b64encode(plots.png(bars(2))).decode() in page
    assert "<p>height &lt;h&gt; = 2. Once the cell has run" in page
    slider.value = 0  # cannot be drawn: the page stays with the last picture
    assert box._repr_mimebundle_()["text/html"] == page


def test_a_page_that_shows_no_html_says_in_words_what_the_sliders_are():
    words = {
        slider_figure(bars, height=IntSlider(value=2)): "Slider: height. Run",
        slider_figure(bars, height=IntSlider(value=2, description="h")): "Slider: h. Run",
    }
    for widget, start in words.items():
        assert widget._repr_mimebundle_()["text/plain"].startswith(f"{start} the cell in JupyterLab")


def test_a_slider_without_a_description_is_called_by_its_name():
    plain, described = IntSlider(value=2), IntSlider(value=2, description="h")
    slider_figure(bars, height=plain)
    slider_figure(bars, height=described)
    assert (plain.description, described.description) == ("height", "h")
