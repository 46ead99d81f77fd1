// The search page: asks the index for what is typed, and shows what was found.
"use strict";

(() => {
  const [AT_ONCE, PAUSE] = [15, 150];
  const KINDS = {
    chapter: (page) => `Chapter ${page.number}`,
    aside: (page) => `Chapter ${page.number}`,
    solution: () => "Solutions",
    api: () => "API",
    glossary: () => "Glossary",
    bibliography: () => "Bibliography",
    reference: () => "Reference",
  };
  const input = document.querySelector(".bd-search-container form.bd-search input");
  const status = document.getElementById("search-status");
  const list = document.getElementById("search-found");
  const more = document.getElementById("search-more");
  const help = document.getElementById("search-help");
  let [engine, timer, shown] = [null, null, null];

  function element(name, text, parent, properties = {}) {
    const made = Object.assign(document.createElement(name), { textContent: text, ...properties });
    parent.append(made);
    return made;
  }

  function write(pieces, parent) {
    for (const [text, marked] of pieces) {
      if (marked) element("mark", text, parent);
      else parent.append(text);
    }
  }

  function address({ page, anchor }, words) {
    const find = words.length ? `?find=${words.map(encodeURIComponent).join("|")}` : "";
    return `${page.address}${find}#${anchor}`;
  }

  function result(place, asked) {
    const item = document.createElement("li");
    const link = element("a", "", element("h2", "", item), { href: address(place, SearchMarks.forms(place, asked)) });
    const titles = place.heading === place.page.title ? [place.heading] : [place.page.title, place.heading];
    titles.forEach((title, i) => {
      if (i) element("span", " › ", link);
      write(SearchMarks.pieces(title, SearchMarks.marks(title, asked)), link);
    });
    element("span", (KINDS[place.kind] ?? KINDS.reference)(place.page), item.firstChild, { className: "kind" });
    const { pieces, code } = SearchMarks.snippet(place, asked);
    const line = element("p", "", item);
    write(pieces, code ? element("code", "", line) : line);
    return item;
  }

  function add() {
    const next = shown.found.slice(shown.count, shown.count + AT_ONCE).map((place) => result(place, shown.asked));
    list.append(...next);
    shown.count += next.length;
    more.hidden = shown.count >= shown.found.length;
    return next[0];
  }

  function say(query, { found, read, unknown, perhaps }) {
    status.textContent = "";
    help.hidden = !query || found.length > 0;
    if (!query) return;
    const pages = new Set(found.map(({ page }) => page)).size;
    const [places, on] = [found.length === 1 ? "1 place" : `${found.length} places`, pages === 1 ? "1 page" : `${pages} pages`];
    for (const [typed, taken] of read) status.append(`“${typed}” is not in the book. Shown is “${taken}”. `);
    if (found.length) for (const word of unknown) status.append(`“${word}” is not in the book. `);
    status.append(found.length ? `${places} on ${on}.` : `Nothing found for “${query}”.`);
    if (!perhaps || perhaps === query) return;
    status.append(" Did you mean ");
    element("a", perhaps, status, { href: `?q=${encodeURIComponent(perhaps)}` });
    status.append("?");
  }

  function run() {
    if (!engine) return; // soon: the first run reads what is typed by then
    const query = input.value.trim();
    const answer = engine.search(query);
    shown = { ...answer, count: 0 };
    list.replaceChildren();
    add();
    say(query, answer);
    document.title = `${query ? `${query} - ` : ""}${document.title.replace(/^.*(?=Search - )/, "")}`;
    const here = new URL(location);
    if (query) here.searchParams.set("q", query);
    else here.searchParams.delete("q");
    history.replaceState({}, "", here);
  }

  input.value = new URLSearchParams(location.search).get("q") ?? "";
  if (!input.value || !matchMedia("(pointer: coarse)").matches) {
    input.focus(); // not on a phone, whose keyboard would cover the results
    input.select();
  }
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(run, PAUSE);
  });
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    run();
  });
  more.addEventListener("click", () => add()?.querySelector("a").focus());
  if (input.value) status.textContent = "Searching …";
  // After the page has been drawn: the index takes a moment.
  setTimeout(() => {
    engine = new BookSearch(window.searchIndex);
    run();
  }, 30);
})();
