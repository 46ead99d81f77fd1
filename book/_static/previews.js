// Shows what a link in the text leads to, to the mouse and the keyboard: an equation, a term, a figure ...
//
// The targets are one file, written by _ext/course_book/previews.py and loaded when the first one is asked for:
// as a script, since a page opened from a disk may not fetch. A finger gets the link, as ever.
"use strict";

(() => {
  const DATA = "_static/previews/targets.js";
  const LINKS = "article a.reference.internal";
  const [SHOW_AFTER, HIDE_AFTER, GAP] = [250, 200, 8];
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  let [box, current, timer, targets] = [null, null, null, null];

  function load() {
    targets ??= new Promise((resolve) => {
      const script = document.createElement("script");
      script.src = new URL(DATA, root).href;
      script.onload = () => resolve(window.previewTargets);
      script.onerror = () => resolve({});
      document.head.append(script);
    });
    return targets;
  }

  // chapters/losses.html#equation-eq-losses-mse, wherever the book is.
  function key(link) {
    const inside = decodeURIComponent((link.pathname + link.hash).slice(root.pathname.length));
    const target = inside === "" || inside.startsWith("#") ? `index.html${inside}` : inside;
    return target.includes("#") ? target : `${target}#`;
  }

  function hide() {
    clearTimeout(timer);
    current?.removeAttribute("aria-describedby");
    current = null;
    if (box) box.hidden = true;
  }

  // Below the link, or above it where there is no room; never beside the page.
  function place(link) {
    const at = link.getClientRects()[0] ?? link.getBoundingClientRect();
    const room = document.documentElement.clientWidth - box.offsetWidth - 2 * GAP;
    const left = Math.max(GAP, Math.min(at.left, room + GAP));
    const below = at.bottom + GAP + box.offsetHeight < window.innerHeight;
    const top = below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - box.offsetHeight);
    box.style.left = `${left + window.scrollX}px`;
    box.style.top = `${top + window.scrollY}px`;
  }

  // A drawing of this page once more: not a copy, whose identifiers would be there twice. Its colours in
  // the dark are variables with its identifier, which are inherited, but not found from in here.
  function draw(drawing, source) {
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    const { width, height } = drawing.viewBox.baseVal;
    for (const [name, value] of Object.entries({ href: `#${source.id}`, width, height }))
      use.setAttribute(name, value);
    const colours = document.createElement("style");
    const here = `#preview [data-drawing="${source.id}"]`;
    colours.textContent = source.querySelector("style")?.textContent.replaceAll(`#${source.id}`, here);
    drawing.append(use);
    drawing.before(colours);
  }

  async function show(link) {
    const html = (await load())[key(link)];
    if (!html || current !== link) return;
    if (!box) {
      box = document.createElement("div");
      box.id = "preview";
      box.setAttribute("role", "tooltip");
      box.addEventListener("pointerenter", () => clearTimeout(timer));
      box.addEventListener("pointerleave", leave);
      document.body.append(box);
    }
    link.removeAttribute("title"); // The browser's own tip would cover the preview.
    box.innerHTML = html;
    for (const drawing of box.querySelectorAll("svg[data-drawing]")) {
      const source = document.getElementById(drawing.dataset.drawing);
      if (source) draw(drawing, source);
      else drawing.remove(); // it is on another page
    }
    for (const picture of box.querySelectorAll("img")) {
      picture.onload = () => current === link && place(link);
      picture.src = new URL(picture.dataset.src, root);
    }
    box.hidden = false;
    place(link);
    link.setAttribute("aria-describedby", box.id);
    await window.MathJax?.typesetPromise?.([box]);
    if (current === link) place(link);
  }

  function ask(link, wait) {
    if (link === current) return clearTimeout(timer);
    hide();
    current = link;
    timer = setTimeout(() => show(link), wait);
  }

  function leave() {
    clearTimeout(timer);
    timer = setTimeout(hide, HIDE_AFTER);
  }

  function prepare(link) {
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") ask(link, SHOW_AFTER);
    });
    link.addEventListener("pointerleave", leave);
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) ask(link, 0);
    });
    link.addEventListener("blur", hide);
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(LINKS).forEach(prepare));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
})();
