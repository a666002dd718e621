"""Every picture of every chapter has alt text in JupyterLab: as recorded, when run again, and under sliders."""

from tests.browser import lab_page
from tests.chapter_widgets import NOTEBOOKS, SETUP, cells_up_to, cells_with

FIRST = NOTEBOOKS / "06_where_does_the_loss_come_from.ipynb"  # its figure and its slider need nothing trained
OTHERS = sorted(path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb") if path != FIRST)
ALTS = "images => images.map(image => image.getAttribute('alt'))"
ALTS_OF_ANOTHER = f"""async (name) => {{
    const noKernel = {{shouldStart: false, canStart: false, autoStartDefault: false}};
    const panel = await window.jupyterapp.commands.execute(
        'docmanager:open', {{path: name, factory: 'Notebook', kernelPreference: noKernel}});
    await panel.context.ready;
    await panel.revealed;
    const withOutput = panel.content.widgets.filter(cell => cell.model.type === 'code' && cell.model.outputs.length);
    await Promise.all(withOutput.map(cell => cell.ready));
    const images = [...panel.node.querySelectorAll('.jp-OutputArea img')];
    const alts = ({ALTS})(images);
    panel.dispose();
    return alts;
}}"""


def test_every_picture_has_alt_text():
    (setup,), (figure,) = cells_with(FIRST, SETUP), cells_with(FIRST, "plots.loss_and_weight(beta=")
    slider = cells_up_to(FIRST, "slider_figure(")[-1]
    with lab_page(FIRST) as lab:
        recorded = {FIRST.name: lab.page.eval_on_selector_all(".jp-OutputArea img", ALTS)}
        for name in OTHERS:
            recorded[name] = lab.page.evaluate(ALTS_OF_ANOTHER, name)
        for name, alts in recorded.items():
            assert len(alts) >= 2, f"{name}: no pictures are seen"
            assert all(alt and len(alt) > 30 for alt in alts), f"{name}: {alts}"

        lab.run_cells([setup, figure, slider])
        picture = lab.picture(slider)
        shown = lab.cell(figure).locator("img").get_attribute("alt")
        first, before = picture.get_attribute("alt"), picture.get_attribute("src")
        lab.press(slider, "End")
        lab.wait_changed(picture, before)
        moved = picture.get_attribute("alt")
        assert shown == first != moved
        assert all(alt.startswith("At β = ") for alt in (shown, first, moved))
