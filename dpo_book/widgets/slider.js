// The browser's own slider with a label and what it stands at, for the sliders of ipywidgets.

// Where the handle can be and what that means: the value itself, an exponent, or a place in a list.
// A scale has the trait that is set, the ends and the step, and the ways between position, trait and words.
function scaleOf(model) {
  const labels = model.get("_options_labels");
  if (labels) {
    const ends = { min: 0, max: labels.length - 1, step: 1 };
    return { ...ends, trait: "index", there: Number, back: Number, words: (index) => labels[index] };
  }
  const ends = { min: model.get("min"), max: model.get("max"), step: model.get("step") ?? "any" };
  const words = (value) => formatted(value, model.get("readout_format"));
  const base = model.get("base");
  if (base) {
    const there = (position) => base ** position;
    const back = (value) => Math.log(value) / Math.log(base);
    return { ...ends, trait: "value", there, back, words };
  }
  return { ...ends, trait: "value", there: Number, back: Number, words };
}

// .2f and .3g as ipywidgets means them; all else as the number is.
function formatted(value, format) {
  const [, digits, kind] = /^\.(\d+)([fg])$/.exec(format) ?? [];
  if (kind === "f") return value.toFixed(digits);
  if (kind === "g") return value.toPrecision(digits);
  return String(value);
}

function render({ model, el }) {
  const label = document.createElement("label");
  const name = document.createElement("span");
  const slider = document.createElement("input");
  const readout = document.createElement("output");
  slider.type = "range";
  readout.setAttribute("aria-live", "off"); // the slider's own text is read aloud already
  label.append(name, slider);
  el.append(label, readout);
  el.classList.add("dpo-slider");

  function show() {
    const scale = scaleOf(model);
    const stands = model.get(scale.trait);
    name.textContent = model.get("description");
    Object.assign(slider, { min: scale.min, max: scale.max, step: scale.step, disabled: model.get("disabled") });
    slider.value = scale.back(stands);
    readout.textContent = scale.words(stands);
    slider.setAttribute("aria-valuetext", readout.textContent);
    readout.hidden = !model.get("readout");
  }

  function tell() {
    const scale = scaleOf(model);
    model.set(scale.trait, scale.there(slider.value));
    model.save_changes();
  }

  slider.addEventListener("input", () => model.get("continuous_update") && tell());
  slider.addEventListener("change", tell);
  // JupyterLab would take ArrowUp, Home, ... for its own and go to another cell; Ctrl+S and the like it shall have.
  slider.addEventListener("keydown", (event) => event.ctrlKey || event.metaKey || event.stopPropagation());
  model.on("change", show);
  show();
}

export default { render };
