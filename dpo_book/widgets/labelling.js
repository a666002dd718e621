// A prompt and two texts, and which of them is better: by button, or by key while something in here has the focus.

const KEYS = { ArrowLeft: "first", ArrowDown: "tie", ArrowRight: "second", Backspace: "back" };
const PRESSES = ["Enter", " "]; // what clicks a button that has the focus
const HOW = "Keys: ← left, ↓ as good, → right, Backspace back. A long text scrolls while it has the focus.";

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// A heading and a text as it is, never HTML.
function pane(name) {
  const box = element("div", "pane");
  const text = element("div", "text");
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", name);
  text.dir = "auto";
  box.append(element("div", "name", name), text);
  return { box, text };
}

function button(words, key) {
  const made = element("button", "", words);
  made.type = "button";
  if (key) made.setAttribute("aria-keyshortcuts", key);
  return made;
}

function render({ model, el }) {
  const root = element("div", "dpo-labelling");
  const says = element("p", "says");
  const error = element("p", "error");
  const pair = element("div", "pair");
  const prompt = pane("Prompt");
  const left = pane("Left");
  const right = pane("Right");
  const texts = element("div", "texts");
  const answers = element("div", "answers");
  const buttons = {
    first: button("← left is better", "ArrowLeft"),
    tie: button("as good", "ArrowDown"),
    second: button("right is better →", "ArrowRight"),
    back: button("back", "Backspace"),
  };
  const how = element("p", "how", HOW);
  const report = element("div", "report");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Which answer is better?");
  says.setAttribute("role", "status"); // read aloud whenever it changes
  report.setAttribute("aria-live", "polite");
  error.setAttribute("role", "alert");
  texts.append(left.box, right.box);
  answers.append(buttons.first, buttons.tie, buttons.second, buttons.back);
  pair.append(prompt.box, texts);
  root.append(says, pair, answers, error, how, report);
  el.append(root);

  let waiting = false; // for the kernel's word on the last answer: the next pair is not seen before

  function say(place) {
    const { number, finished } = model.get("state");
    const impossible = place === "back" ? number === 0 : finished;
    if (waiting || impossible) return;
    waiting = true;
    model.send({ number, place });
  }

  // A text longer than its place can be scrolled by keys, and so needs the focus.
  function letScroll() {
    for (const { text } of [prompt, left, right]) {
      if (text.scrollHeight > text.clientHeight + 1) text.tabIndex = 0;
      else text.removeAttribute("tabindex");
    }
  }

  function show() {
    const state = model.get("state");
    const hadFocus = root.contains(document.activeElement);
    waiting = false;
    says.textContent = state.says;
    error.textContent = state.error;
    for (const [{ text }, words] of [[prompt, state.prompt], [left, state.left], [right, state.right]]) {
      text.textContent = words || "(nothing)";
      text.classList.toggle("nothing", !words);
      text.scrollTop = 0;
    }
    report.replaceChildren(...state.report.map((line) => element("p", "", line)));
    for (const part of [pair, how, buttons.first, buttons.tie, buttons.second]) part.hidden = state.finished;
    // A disabled button would lose the focus.
    buttons.back.setAttribute("aria-disabled", state.number === 0);
    letScroll();
    if (hadFocus && !root.contains(document.activeElement)) root.focus({ preventScroll: true });
    else if (hadFocus && document.activeElement.offsetParent === null) root.focus({ preventScroll: true });
  }

  for (const [place, made] of Object.entries(buttons)) made.addEventListener("click", () => say(place));
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey) return; // Ctrl+S and the like are JupyterLab's
    event.stopPropagation(); // the arrow keys are not: it would go to another cell
    if (event.repeat && event.target.tagName === "BUTTON" && PRESSES.includes(event.key)) {
      event.preventDefault(); // held down on a button, it would click once a repeat, and answer pairs unread
      return;
    }
    const place = KEYS[event.key];
    const scrolls = event.key === "ArrowDown" && event.target.classList.contains("text") && event.target.tabIndex === 0;
    if (!place || scrolls || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (event.repeat) return; // a key that is held down is one answer
    if (event.target.classList.contains("text")) root.focus({ preventScroll: true });
    say(place);
  });
  new ResizeObserver(letScroll).observe(texts);
  model.on("change:state", show);
  show();
}

export default { render };
