// A figure on a page of its own: light or dark as the system is, and its height told to the page around.
"use strict";

(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => (root.dataset.theme = dark.matches ? "dark" : "light");
  dark.addEventListener("change", follow);
  follow();
  if (window.parent === window) return;
  document.addEventListener("DOMContentLoaded", () => {
    const figure = document.querySelector("[data-figure]").dataset.figure;
    const tell = () => window.parent.postMessage({ figure, height: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
    new ResizeObserver(tell).observe(document.body);
  });
})();
