"""Where sliders can stand, and which places are recorded."""

from itertools import pairwise

import ipywidgets
import pytest

from dpo_book.widgets import FloatLogSlider, FloatSlider, IntSlider, SelectionSlider
from tools.site.controls import control_of, keep_at_most


def test_every_kind_of_slider_has_all_its_places():
    linear = control_of(FloatSlider(value=0.25, min=0, max=0.5, step=0.25, description="ε"))
    assert (linear.name, linear.values, linear.texts) == ("ε", [0, 0.25, 0.5], ["0.00", "0.25", "0.50"])
    assert (linear.start, linear.trait) == (1, "value")
    power = control_of(FloatLogSlider(value=1, min=-1, max=1, step=1))
    assert power.values == pytest.approx([0.1, 1, 10]) and power.start == 1
    assert control_of(IntSlider(4, min=2, max=6, step=2)).texts == ["2", "4", "6"]
    one_of = control_of(SelectionSlider(options=[("few", 30), ("many", 300)], value=300))
    assert (one_of.trait, one_of.values, one_of.texts, one_of.start) == ("index", [0, 1], ["few", "many"], 1)
    assert not one_of.is_list and control_of(ipywidgets.Dropdown(options=["a", "b"])).is_list


def test_a_start_between_two_places_takes_the_nearer_one_s():
    control = control_of(FloatLogSlider(value=0.5, min=-1, max=1, step=0.1, readout_format=".2f"))
    assert (control.values[control.start], control.texts[control.start]) == (0.5, "0.50")
    assert control.values[control.start - 1] == pytest.approx(10**-0.4)


def test_what_is_no_slider_is_refused():
    with pytest.raises(TypeError, match="Button is no slider"):
        control_of(ipywidgets.Button())


def controls(*ticks):
    return [control_of(IntSlider(start, min=0, max=last)) for start, last in ticks]


def test_of_two_sliders_a_grid_with_ends_and_start_is_kept():
    first, second = controls((7, 46), (3, 10))
    keep_at_most([first, second], most=60)
    assert len(first.kept) * len(second.kept) <= 60
    for control in (first, second):
        assert {0, control.start, len(control.values) - 1} <= set(control.kept)
        inner = control.kept[1:-1]
        assert len({after - before for before, after in pairwise(inner)}) <= 1


def test_lists_and_a_slider_that_is_alone_keep_all():
    (alone,) = controls((7, 200))
    keep_at_most([alone], most=60)
    assert len(alone.kept) == 201
    (slider,) = controls((7, 200))
    chosen = control_of(ipywidgets.Dropdown(options=range(40)))
    keep_at_most([slider, chosen], most=60)
    assert len(chosen.kept) == 40 and slider.kept == sorted({0, slider.start, 200})
