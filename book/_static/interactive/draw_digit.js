// A digit drawn by the reader goes through a trained network, and the signal for a target comes back.
"use strict";

Figures.draw_digit = (stage) => {
  const { add, set, format } = stage;
  const { reduce, layers, pass } = Figures.digits;
  const data = Figures.digitData;
  const net = layers(data);
  const CELL = 32; // of the sheet, in its units; the bitmap of the strokes is as wide as one: 32 dots
  const PALE = 0.05; // a layer whose largest gradient is smaller than this is drawn pale
  const empty = () => new Array(64).fill(0);

  stage.room(3, 6);
  stage.columns(2);
  const digits = Object.fromEntries(Array.from({ length: 10 }, (_, k) => [k, `a ${k}`]));
  const target = stage.select({ key: "target", label: "Signal back, if it were", options: digits, value: "7" });

  // What lies on the sheet: cells 0 to 16, strokes of the pen over them, and where it comes from.
  let sheet = null;
  const before = [];
  let next = 0;
  function change(now) {
    if (sheet) before.push(sheet);
    sheet = now;
  }
  function testDigit() {
    const [label, cells] = data.digits[next];
    next = (next + 1) % data.digits.length;
    const which = data.digits.findIndex((digit) => digit[1] === cells) + 1;
    change({ cells, strokes: [], name: `Test digit ${which} of ${data.digits.length}, a ${label}` });
  }
  function undo() {
    sheet = before.pop() ?? sheet;
  }
  stage.button("A digit from the test set", testDigit);
  stage.button("Undo", undo);
  stage.button("Clear", () => change({ cells: empty(), strokes: [], name: "An empty sheet" }));

  // Strokes alone are centred and scaled; on top of cells they stay where they were drawn.
  function pixels({ cells, strokes }) {
    const blank = cells.every((v) => v === 0);
    return reduce(strokes, blank).map((v, i) => Math.max(v, cells[i]));
  }

  // Left: the sheet, for mouse and finger; for the keyboard it is a table of 8 x 8 cells.
  const paper = stage.picture({ width: 8 * CELL + 8, height: 8 * CELL + 8, title: "Draw here" });
  set(paper.svg, { role: "grid", tabindex: 0, class: "sheet", "aria-label": "Sheet of 8 by 8 cells: arrow keys move, space inks or erases" });
  const origin = paper.group({ transform: "translate(4 4)" });
  const squares = Array.from({ length: 8 }, (_, row) => {
    const line = add(origin, "g", { role: "row" });
    return Array.from({ length: 8 }, (_, column) => {
      const place = { x: column * CELL, y: row * CELL, width: CELL, height: CELL };
      const id = `${stage.name}-${row}-${column}`;
      add(line, "rect", { ...place, class: "paper-area gridline" });
      return add(line, "rect", { ...place, id, role: "gridcell", class: "ink-area cell" });
    });
  }).flat();
  const pen = add(origin, "path", { class: "line pen" });
  const cursor = add(origin, "rect", { width: CELL, height: CELL, rx: 3, class: "cursor" });
  let at = [3, 3];
  let keys = false; // whether the reader is working by keys, who needs to see the cursor

  function toggle() {
    const cells = pixels(sheet);
    const spot = at[0] * 8 + at[1];
    cells[spot] = cells[spot] ? 0 : 16;
    change({ cells, strokes: [], name: cells.some(Boolean) ? "Your drawing" : "An empty sheet" });
  }
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  paper.svg.addEventListener("keydown", (event) => {
    if (event.key in MOVES) at = at.map((v, i) => Math.max(0, Math.min(7, v + MOVES[event.key][i])));
    else if (event.key === " " || event.key === "Enter") toggle();
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else return;
    event.preventDefault();
    keys = true;
    stage.redraw();
  });
  for (const [name, shown] of [["focus", true], ["blur", false]]) {
    paper.svg.addEventListener(name, () => {
      keys = shown && paper.svg.matches(":focus-visible");
      stage.redraw();
    });
  }

  // A point of the sheet in dots of the bitmap, from 0 to 32.
  function dot(event) {
    const box = paper.svg.getBoundingClientRect();
    const part = (v, from, size) => Math.max(0, Math.min(32, (((v - from) / size) * paper.width - 4) / (CELL / 4)));
    return [part(event.clientX, box.left, box.width), part(event.clientY, box.top, box.height)];
  }
  let drawing = false;
  paper.svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    paper.svg.setPointerCapture(event.pointerId);
    drawing = true;
    keys = false;
    // Who draws on a test digit begins a drawing of their own.
    const own = sheet.name === "Your drawing";
    const cells = own ? sheet.cells : empty();
    change({ cells, strokes: [...(own ? sheet.strokes : []), [dot(event)]], name: "Your drawing" });
    stage.redraw();
  });
  paper.svg.addEventListener("pointermove", (event) => {
    if (!drawing || !event.isPrimary) return;
    const stroke = sheet.strokes.at(-1);
    const [x, y] = dot(event);
    const [px, py] = stroke.at(-1);
    if (Math.hypot(x - px, y - py) < 0.4) return;
    stroke.push([x, y]);
    stage.redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) paper.svg.addEventListener(name, () => (drawing = false));

  // Right: above, what each layer answers; below, the gradient by each of these numbers.
  const view = stage.picture({ width: 372, height: 330, title: "Through the network, and back" });
  const COLUMNS = [
    { x: 4, wide: 8, size: 12, text: "input" },
    { x: 124, wide: 4, size: 14, text: "24 units" },
    { x: 204, wide: 4, size: 14, text: "16 units" },
    { x: 298, wide: 1, size: 12, text: "answer" },
  ];
  const ROWS = { forward: 104, back: 264 }; // the middle of each, from above
  const HEIGHT = 120;
  const heading = (y, text) => view.add("text", { x: 4, y, class: "strong", text });
  heading(16, "Forward: activations");
  const backwards = heading(180, "");
  const [forward, back] = [ROWS.forward, ROWS.back].map((middle) =>
    COLUMNS.map(({ x, wide, size }, k) =>
      Array.from({ length: data.sizes[k] }, (_, i) => {
        const top = middle - (data.sizes[k] / wide) * (size / 2);
        const place = { x: x + (i % wide) * size, y: top + Math.floor(i / wide) * size, width: size, height: size };
        view.add("rect", { ...place, class: "paper-area gridline" });
        return { place, cell: view.add("rect", { ...place, class: "cell" }) };
      }),
    ),
  );
  COLUMNS.slice(0, 3).forEach(({ x, wide, size }, k) => {
    const from = x + wide * size + 4;
    const to = COLUMNS[k + 1].x - (k === 2 ? 18 : 5);
    view.add("path", { class: "line faint", d: `M${from} ${ROWS.forward}H${to}m-5 -4l5 4l-5 4` });
    view.add("path", { class: "line faint", d: `M${to} ${ROWS.back}H${from}m5 -4l-5 4l5 4` });
  });
  COLUMNS.forEach(({ x, wide, size, text }) => {
    view.add("text", { x: x + (wide * size) / 2, y: 36, "text-anchor": "middle", class: "small", text });
  });
  const notes = [ROWS.forward, ROWS.back].map((middle) =>
    Array.from({ length: 10 }, (_, k) => {
      const y = middle - HEIGHT / 2 + 12 * k + 10;
      const name = view.add("text", { x: 292, y, "text-anchor": "end", class: "small", text: k });
      return { name, number: view.add("text", { x: 370, y, "text-anchor": "end", class: "small" }) };
    }),
  );

  // Blue squares are positive, orange discs negative; the deeper, the larger.
  function colour({ cell, place }, share) {
    const size = place.width;
    set(cell, {
      class: share < 0 ? "orange-area" : "blue-area",
      rx: share < 0 ? size / 2 : 0,
      "fill-opacity": Math.min(1, Math.abs(share)).toFixed(3),
    });
  }
  const largest = (numbers) => Math.max(...numbers.map(Math.abs));

  function drawSheet(input) {
    squares.forEach((square, i) => {
      set(square, { "fill-opacity": sheet.cells[i] / 16, "aria-label": `row ${Math.floor(i / 8) + 1}, column ${(i % 8) + 1}: ink ${input[i]} of 16` });
    });
    const scaled = sheet.strokes.map((stroke) => stroke.map(([x, y]) => [(x * CELL) / 4, (y * CELL) / 4]));
    set(pen, { d: scaled.map((stroke) => stage.path([stroke[0], ...stroke])).join("") });
    set(cursor, { x: at[1] * CELL, y: at[0] * CELL, visibility: keys ? "visible" : "hidden" });
    set(paper.svg, { "aria-activedescendant": `${stage.name}-${at[0]}-${at[1]}` });
  }

  function drawNetwork({ activations, p, gradients }, wanted) {
    forward[0].forEach(({ cell }, i) => set(cell, { class: "ink-area", "fill-opacity": activations[0][i] }));
    for (const k of [1, 2]) {
      const most = largest(activations[k]) || 1;
      forward[k].forEach((unit, i) => colour(unit, activations[k][i] / most));
    }
    forward[3].forEach((unit, k) => colour(unit, p[k]));
    gradients.forEach((values, k) => {
      const most = Math.max(PALE, largest(values));
      back[k].forEach((unit, i) => colour(unit, values[i] / most));
    });
    backwards.textContent = `Backward: gradient of the loss for a ${wanted}`;
    notes[0].forEach(({ name, number }, k) => {
      number.textContent = `${format(100 * p[k], 1)} %`;
      set(name, { class: p[k] === Math.max(...p) ? "small strong" : "small" });
    });
    notes[1].forEach(({ name, number }, k) => {
      number.textContent = format(gradients[3][k], 3);
      set(name, { class: k === wanted ? "small strong" : "small" });
    });
  }

  stage.draw = () => {
    const wanted = Number(target.value);
    const ink = pixels(sheet);
    const found = pass(net, ink.map((v) => v / 16), wanted);
    drawSheet(ink);
    drawNetwork(found, wanted);
    const order = [...found.p.keys()].sort((a, b) => found.p[b] - found.p[a]);
    const sure = (k) => `${k} with ${format(100 * found.p[k], 1)} %`;
    const steepest = largest(found.gradients[0]);
    const spot = found.gradients[0].findIndex((v) => Math.abs(v) === steepest);
    const does = found.gradients[0][spot] < 0 ? "less" : "more";
    stage.say(
      `${sheet.name}: the network says ${sure(order[0])}, then ${sure(order[1])}. If it were a ${wanted}, the loss would be ${format(found.loss, 3)}; ` +
        `one dot more ink in row ${Math.floor(spot / 8) + 1}, column ${(spot % 8) + 1} would make it ${does} by about ${format(steepest / 16, 4)}.`,
    );
    view.label(
      `${found.activations[1].filter((v) => v > 0).length} of 24 and ${found.activations[2].filter((v) => v > 0).length} of 16 units are on; ` +
        `the answer is ${order[0]}. For a ${wanted}, more ink would lower the loss in ${found.gradients[0].filter((v) => v < 0).length} of 64 cells and raise it in the others.`,
    );
  };
  testDigit();
};
