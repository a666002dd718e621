// Figures with sliders: every picture was drawn when the book was built, and a slider chooses among them.
"use strict";

function makeMove(figure) {
  const { texts, frames } = JSON.parse(figure.querySelector("script").textContent);
  const controls = [...figure.querySelectorAll("input, select")];
  const picture = figure.querySelector("img");
  const folder = picture.getAttribute("src").replace(/[^/]*$/, "");
  const fetched = new Set();

  function frameAt(places) {
    return frames[places.reduce((place, at, i) => place * texts[i].length + at, 0)];
  }

  function show() {
    const places = controls.map((control) => Number(control.value));
    const [file, alt] = frameAt(places);
    picture.src = folder + file;
    picture.alt = alt;
    controls.forEach((control, i) => {
      if (control.type !== "range") return;
      const text = texts[i][places[i]];
      control.setAttribute("aria-valuetext", text);
      control.nextElementSibling.textContent = text;
    });
  }

  // What one control can show from here, so that it moves without waiting.
  function fetchAlong(moved) {
    const places = controls.map((control) => Number(control.value));
    for (let at = 0; at < texts[moved].length; at += 1) {
      const [file] = frameAt(places.with(moved, at));
      if (!fetched.has(file)) new Image().src = folder + file;
      fetched.add(file);
    }
  }

  controls.forEach((control, i) => {
    control.addEventListener("input", show);
    control.addEventListener("focus", () => fetchAlong(i));
    control.addEventListener("pointerenter", () => fetchAlong(i));
  });
  show(); // a browser that comes back to a page leaves its sliders where they were
}

for (const figure of document.querySelectorAll(".recorded")) makeMove(figure);
