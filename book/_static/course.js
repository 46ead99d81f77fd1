// What scrolls by itself can be scrolled by keyboard too: it takes the focus, and only while it scrolls.
"use strict";

function letKeyboardScroll() {
  for (const box of document.querySelectorAll("main pre, main mjx-container, main table, main .output, main .drawing, main .cell_output > *")) {
    if (box.closest("summary, button, a")) continue; // takes the focus itself
    const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
    if (scrolls) box.tabIndex = 0;
    else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  }
}

window.addEventListener("load", () => {
  const formulas = window.MathJax?.startup?.promise ?? Promise.resolve();
  formulas.then(letKeyboardScroll);
});
window.addEventListener("resize", letKeyboardScroll);
