"""Sliders in Python: ipywidgets' own, but for what is drawn (which is tested in notebooks/test_browser)."""

import ipywidgets
import pytest
from traitlets import TraitError

from dpo_book import widgets

SLIDERS = {
    "FloatSlider": dict(value=0.3, min=0, max=1, step=0.1),
    "IntSlider": dict(value=3, min=1, max=9),
    "FloatLogSlider": dict(value=0.25, base=2, min=-4, max=0, step=0.5),
    "SelectionSlider": dict(options=[30, 100, 300], value=100),
}


def state(slider):
    """What is sent to JupyterLab, but for what it is to draw and the widgets of layout and style."""
    ours = ("_", "layout", "style")
    return {name: value for name, value in slider.get_state().items() if not name.startswith(ours)}


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_says_what_that_of_ipywidgets_says_and_is_drawn_by_this_package(name):
    ours = getattr(widgets, name)(**SLIDERS[name], description="β")
    theirs = getattr(ipywidgets, name)(**SLIDERS[name], description="β")
    assert isinstance(ours, type(theirs))
    assert ours.value == theirs.value
    assert state(ours) == state(theirs)
    drawn = ours.get_state()
    assert drawn["_view_module"] == "anywidget"
    assert 'slider.type = "range"' in drawn["_esm"] and ".dpo-slider" in drawn["_css"]


def test_values_are_checked_as_ipywidgets_checks_them():
    whole = widgets.IntSlider(3, min=1, max=9)
    whole.value = 12
    assert whole.value == 9
    power = widgets.FloatLogSlider(value=0.25, **{"base": 2, "min": -4, "max": 0})
    power.value = 100
    assert power.value == 1
    with pytest.raises(TraitError, match="min"):
        widgets.FloatSlider(min=2, max=1)
    with pytest.raises(TraitError):
        widgets.SelectionSlider(options=[30, 100], value=50)
