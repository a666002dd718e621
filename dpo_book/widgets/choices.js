// A question and its answers: a fieldset, so that a screen reader reads the question with each answer.

let drawn = 0; // so that each drawing of a question has buttons of its own

function render({ model, el }) {
  const group = document.createElement("fieldset");
  const question = document.createElement("legend");
  question.textContent = model.get("description");
  group.append(question);
  group.classList.add("dpo-choices");
  drawn += 1;
  const name = `dpo-choices-${drawn}`;
  const buttons = model.get("_options_labels").map((answer, index) => {
    const label = document.createElement("label");
    const button = document.createElement("input");
    const words = document.createElement("span");
    Object.assign(button, { type: "radio", name });
    words.textContent = answer;
    button.addEventListener("change", () => {
      model.set("index", index);
      model.save_changes();
    });
    label.append(button, words);
    group.append(label);
    return button;
  });
  el.append(group);

  function show() {
    const chosen = model.get("index");
    buttons.forEach((button, index) => (button.checked = index === chosen));
  }

  // JupyterLab would take the arrow keys for its own and go to another cell; Ctrl+S and the like it shall have.
  group.addEventListener("keydown", (event) => event.ctrlKey || event.metaKey || event.stopPropagation());
  model.on("change:index", show);
  show();
}

export default { render };
