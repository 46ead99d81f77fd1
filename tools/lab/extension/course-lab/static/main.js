// Joins JupyterLab to the book that the same server shows: a page opens a notebook at an exercise,
// a notebook opens a page, and both stay one tab each, however often one goes to and fro.
//
// A module as JupyterLab loads them from other packages: an object with `init` and `get`.
"use strict";

(() => {
  const [LAB, BOOK] = ["course-lab", "course-book"]; // the names of the tabs; tools/lab/page.js has them too
  const prepared = new Set(); // kernels in which the first code cell has been run, by their ids

  // What an exercise needs is imported in the first code cell of its notebook.
  async function prepare(app, notebook) {
    await notebook.sessionContext.ready;
    const kernel = notebook.sessionContext.session?.kernel;
    const first = notebook.content.widgets.findIndex((cell) => cell.model.type === "code");
    if (!kernel || first < 0 || prepared.has(kernel.id)) return;
    prepared.add(kernel.id);
    kernel.statusChanged.connect((_, status) => status.endsWith("restarting") && prepared.delete(kernel.id));
    notebook.content.activeCellIndex = first;
    app.commands.execute("notebook:run-cell");
  }

  // Open a notebook; with a cell, put the cursor there, so that it can be changed and run at once.
  async function open(app, path, cell) {
    await app.restored;
    const notebook = await app.commands.execute("docmanager:open", { path });
    await notebook.context.ready;
    await notebook.revealed;
    app.shell.activateById(notebook.id);
    const index = notebook.content.widgets.findIndex((one) => one.model.id === cell);
    if (index < 0) return;
    await prepare(app, notebook);
    await notebook.content.scrollToItem(index, "center");
    // A cell that was out of sight has no editor yet. As long as nothing in it has the focus, the
    // first cell has, and becomes the active one when the browser turns to this tab.
    await notebook.content.widgets[index].ready;
    notebook.content.activeCellIndex = index;
    notebook.content.mode = "edit";
    notebook.content.widgets[index].editor.focus();
  }

  // .../tree/chapters/losses.ipynb#cell-losses-ex-01, by which a page leads here. JupyterLab's own
  // way, #cell-id=losses-ex-01, is no selector, as the scroll spy of the book's theme takes it to be.
  function fromAddress(app, { pathname, hash }) {
    const [, path] = /\/tree\/(.+)$/.exec(pathname) ?? [];
    const [, cell] = /^#cell-(.+)$/.exec(hash) ?? [];
    if (path && cell) open(app, decodeURIComponent(path), decodeURIComponent(cell));
  }

  // JupyterLab gives each link to another page a tab of its own that knows nothing of this one.
  function toBook(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.origin !== location.origin || !link.pathname.startsWith("/book/")) return;
    event.preventDefault();
    event.stopPropagation();
    window.open(link.href, BOOK)?.focus();
  }

  const plugin = {
    id: "course-lab:pages",
    description: "Joins JupyterLab to the pages of the book",
    autoStart: true,
    activate(app) {
      window.name = LAB;
      window.courseLab = { open: (path, cell) => open(app, path, cell) };
      document.addEventListener("click", toBook, true);
      fromAddress(app, new URL(location)); // as it is now: JupyterLab will change it
    },
  };
  const modules = { "./extension": { __esModule: true, default: plugin } };
  globalThis._JUPYTERLAB ??= {};
  globalThis._JUPYTERLAB["course-lab"] = { init: () => {}, get: async (name) => () => modules[name] };
})();
