// The side bar shows where one is: its own box is scrolled to the entry of the page; the page stays.
//
// The theme leaves the box where it was on the page before, until the entry is far out of sight.
"use strict";

(() => {
  function showCurrent() {
    const entry = [...document.querySelectorAll(".bd-docs-nav a.current")].at(-1);
    const box = entry?.closest(".bd-sidebar-primary");
    if (!entry?.checkVisibility() || !box) return;
    const [at, around] = [entry.getBoundingClientRect(), box.getBoundingClientRect()];
    if (at.top >= around.top && at.bottom <= Math.min(around.bottom, window.innerHeight)) return;
    const top = box.scrollTop + at.top - around.top - box.clientHeight / 2;
    box.scrollTo({ top, behavior: "instant" });
  }

  // After the theme, which listens for the same event.
  document.addEventListener("DOMContentLoaded", () => setTimeout(showCurrent));
  // On a phone the side bar is a dialog, which is filled when it opens; its button stops the event.
  const toggled = (event) => event.target.closest(".primary-toggle") && setTimeout(showCurrent);
  document.addEventListener("click", toggled, { capture: true });
})();
