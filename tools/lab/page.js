// In the pages that `make lab` serves: what else explains how a notebook is opened opens it here,
// and the exercises that were solved on this machine have a tick.
"use strict";

(() => {
  const [LAB, BOOK] = ["course-lab", "course-book"]; // the names of the tabs, as in the extension of JupyterLab
  const book = new URL("..", document.currentScript.src);

  // JupyterLab in the tab that it has already, or in a new one.
  function open(event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const { notebook, cell } = event.currentTarget.dataset;
    const lab = window.open("", LAB);
    if (lab.courseLab) lab.courseLab.open(notebook, cell);
    else lab.location = event.currentTarget.href;
    lab.focus();
  }

  function link(button) {
    const place = button.dataset.cell ? `#cell-${button.dataset.cell}` : "";
    const made = document.createElement("a");
    made.className = button.className;
    made.textContent = button.textContent;
    Object.assign(made.dataset, button.dataset);
    made.href = new URL(`../lab/tree/${button.dataset.notebook}${place}`, book);
    made.addEventListener("click", open);
    button.replaceWith(made);
  }

  function tick() {
    const made = document.createElement("span");
    made.className = "solved";
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", "solved");
    made.textContent = "✓";
    return made;
  }

  function show(solved) {
    document.querySelectorAll("article .solved").forEach((mark) => mark.remove());
    const here = [...document.querySelectorAll("article [data-exercise]")];
    const done = here.filter((exercise) => solved.includes(exercise.dataset.exercise));
    for (const exercise of done) exercise.closest("section").querySelector("h2, h3, h4").append(" ", tick());
    for (const exercise of document.querySelectorAll('article table a[href*="#ex-"]')) {
      if (solved.includes(exercise.hash.slice(1))) exercise.after(" ", tick());
    }
    for (const place of document.querySelectorAll(".run-here-count")) {
      place.textContent = here.length ? `${done.length} of ${here.length} exercises solved` : "";
    }
  }

  async function refresh() {
    try {
      const answer = await fetch(new URL("lab.json", book));
      if (answer.ok) show((await answer.json()).solved);
    } catch {
      // The server was stopped: the page stays as it is.
    }
  }

  if (window === top) window.name ||= BOOK; // not a figure that a notebook shows
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("button.run-here").forEach(link);
    document.querySelector("#run-here")?.remove();
    refresh();
  });
  addEventListener("focus", refresh);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
})();
