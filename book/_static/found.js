// Marks the words that were searched for in the place where a result of the search leads (?find=...).
//
// Nothing of the page changes: the browser paints the marks. Escape takes them away.
"use strict";

(() => {
  const words = new URLSearchParams(location.search).get("find")?.split("|").filter(Boolean) ?? [];
  if (!words.length) return;
  words.sort((a, b) => b.length - a.length); // so that of two that begin alike the longer is found

  // The section; of a term or a name of the API, what is said of it too.
  function place() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const parts = [target ?? document.querySelector("article")];
    if (target?.matches("dt")) parts.push(target.nextElementSibling);
    return parts.filter(Boolean);
  }

  function mark() {
    const literal = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\s+/g, "\\s+"));
    const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${literal.join("|")})(?![\\p{L}\\p{N}])`, "giu");
    const ranges = [];
    for (const part of place()) {
      const texts = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        for (const { index, 0: found } of texts.currentNode.data.matchAll(pattern)) {
          const range = new Range();
          range.setStart(texts.currentNode, index);
          range.setEnd(texts.currentNode, index + found.length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  // The address is then the one to hand on.
  function clean() {
    const here = new URL(location);
    here.searchParams.delete("find");
    history.replaceState(history.state, "", here);
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (window.Highlight && CSS.highlights) mark();
    clean();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") CSS.highlights?.delete("found");
  });
})();
