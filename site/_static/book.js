// What is wider than the page scrolls sideways, and has to be reached by keyboard, too.
"use strict";

const WIDE = ".math-wrapper, .table-wrapper, .cell_output, .highlight pre";

function reachable() {
  for (const part of document.querySelectorAll(WIDE)) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

window.addEventListener("load", () => {
  const typeset = window.MathJax?.startup?.promise ?? Promise.resolve();
  typeset.then(reachable);
});
window.addEventListener("resize", reachable);

// docutils calls the bibliography a list, and its entries something else than a list's items.
for (const list of document.querySelectorAll(".citation-list[role=list]")) list.removeAttribute("role");
