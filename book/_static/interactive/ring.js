// The ring all-reduce step by step: which part travels where, whose summands it holds, and what it costs.
"use strict";

Figures.ring = (stage) => {
  const { add, format } = stage;
  stage.columns(3);
  stage.room(3, 6);

  const whole = (v) => String(v);
  const ranks = stage.range({ key: "ranks", label: "Ranks p", min: 2, max: 6, step: 1, value: 4, show: whole });
  const size = stage.range({ key: "size", label: "Array n", min: 60, max: 600, step: 60, value: 120, show: (v) => `${v} MB` });
  const step = stage.range({ key: "step", label: "Step", min: 0, max: 6, step: 1, value: 0, show: whole });
  const steps = () => 2 * (ranks.value - 1);
  // Another number of ranks is another ring: it starts again.
  ranks.input.addEventListener("input", () => {
    step.input.max = steps();
    step.value = 0;
    stage.redraw();
  });
  stage.player({
    advance: () => {
      step.value += 1;
      return step.value < steps();
    },
    restart: () => {
      step.value = 0;
    },
    every: 1200,
  });

  const grid = stage.picture({ width: 640, height: 268, fill: true, title: "Whose numbers each rank holds" });
  const cost = stage.picture({ width: 640, height: 84, fill: true, title: "Sent by the busiest rank" });

  // Which part rank r sends in step k, counted from 1: first p - 1 steps of adding, then of copying.
  const around = (i) => ((i % ranks.value) + ranks.value) % ranks.value;
  const sends = (r, k) => around(r - (k < ranks.value ? k : k - ranks.value));

  // held[r][j]: the ranks whose numbers are in part j of rank r after so many steps.
  function play(count) {
    const p = ranks.value;
    let held = Array.from({ length: p }, (_, r) => Array.from({ length: p }, () => [r]));
    for (let k = 1; k <= count; k++) {
      const next = held.map((parts) => [...parts]);
      for (let r = 0; r < p; r++) {
        const [to, j] = [around(r + 1), sends(r, k)];
        next[to][j] = k < p ? [...held[r][j], ...held[to][j]].sort() : held[r][j];
      }
      held = next;
    }
    return held;
  }

  const narrow = () => grid.width < 480;

  function drawCell(x, y, width, height, who, fresh) {
    const full = who.length === ranks.value;
    const share = full ? 100 : Math.round(6 + (34 * who.length) / ranks.value);
    const cell = { x: x + 1, y: y + 1, width: width - 2, height: height - 2, rx: 3 };
    grid.add("rect", { ...cell, style: `fill: color-mix(in srgb, var(--blue) ${share}%, var(--paper))` });
    if (fresh) grid.add("rect", { ...cell, class: "line orange", "stroke-width": 3 });
    // On a phone there is no room for the plus signs, and five digits have to be squeezed.
    const sum = full ? "all" : who.join(narrow() ? "" : "+");
    const look = full ? "strong paper-area" : who.length > 4 ? "small" : "";
    const text = { x: x + width / 2, y: y + height / 2 + 4.5, "text-anchor": "middle", class: look, text: sum };
    const squeeze = narrow() && who.length > 4 && !full ? { textLength: width - 4, lengthAdjust: "spacingAndGlyphs" } : {};
    grid.add("text", { ...text, ...squeeze });
  }

  // An arrow from column to column; from the last one it goes on into the first.
  function drawArrow(from, to, y) {
    const head = (x) => `M${x - 6} ${y - 4}L${x} ${y}L${x - 6} ${y + 4}`;
    grid.add("path", { class: "line orange", d: `M${from} ${y}H${to}${head(to)}` });
  }

  function drawGrid(k, held) {
    grid.clear();
    const p = ranks.value;
    const [left, top, gap, edge] = narrow() ? [16, 24, 13, 13] : [48, 24, 24, 16];
    const width = Math.min(104, (grid.width - left - 2 * edge - (p - 1) * gap) / p);
    const start = left + edge + (grid.width - left - 2 * edge - p * width - (p - 1) * gap) / 2;
    const height = Math.min(80, 240 / p);
    const x = (r) => start + r * (width + gap);
    const y = (j) => top + j * height;
    for (let j = 0; j < p; j++) {
      const name = narrow() ? `${j}` : `part ${j}`;
      grid.add("text", { x: start - edge - 6, y: y(j) + height / 2 + 4.5, "text-anchor": "end", text: name });
    }
    for (let r = 0; r < p; r++) {
      const name = narrow() && p > 4 ? `${r}` : `rank ${r}`;
      grid.add("text", { x: x(r) + width / 2, y: 15, "text-anchor": "middle", class: "strong", text: name });
      for (let j = 0; j < p; j++) {
        const fresh = k > 0 && sends(around(r - 1), k) === j;
        drawCell(x(r), y(j), width, height, held[r][j], fresh);
        if (!fresh) continue;
        const middle = y(j) + height / 2;
        drawArrow(r > 0 ? x(r - 1) + width : x(0) - edge, x(r), middle);
        if (r === 0) grid.add("path", { class: "line orange", d: `M${x(p - 1) + width} ${middle}h${edge}` });
      }
    }
  }

  function drawCost(ring, done, ordered) {
    cost.clear();
    const left = 66;
    const room = cost.width - left - 78;
    // Five arrays are the most that rank 0 of six sends, in the ordered sum.
    const bar = (y, name, part, all, kind) => {
      const scale = room / (5 * size.value);
      cost.add("text", { x: left - 8, y: y + 14, "text-anchor": "end", text: name });
      cost.add("rect", { x: left, y, width: all * scale, height: 19, class: `${kind}-area`, "fill-opacity": 0.25 });
      cost.add("rect", { x: left, y, width: part * scale, height: 19, class: `${kind}-area` });
      cost.add("text", { x: left + room + 72, y: y + 14, "text-anchor": "end", text: `${format(all, 0)} MB` });
    };
    bar(8, "ring", done, ring, "blue");
    bar(38, "ordered", ordered, ordered, "orange");
    const limit = left + (2 * room) / 5;
    cost.add("path", { class: "line faint", "stroke-dasharray": "2 4", d: `M${limit} 2V64` });
    cost.add("text", { x: limit, y: 78, "text-anchor": "middle", class: "small", text: "2 n" });
  }

  stage.draw = () => {
    const [p, k, n] = [ranks.value, step.value, size.value];
    const held = play(k);
    const [part, ring, ordered] = [n / p, (2 * (p - 1) * n) / p, (p - 1) * n];
    drawGrid(k, held);
    drawCost(ring, k * part, ordered);
    const name = k < p ? "add" : "copy";
    const who = held[1][sends(0, Math.max(k, 1))];
    const sum = who.length === p ? "all ranks" : `ranks ${who.join(", ")}`;
    const now = k
      ? `Step ${k} of ${steps()} (${name}): rank 0 sends part ${sends(0, k)} to rank 1, which now holds there the sum of ${sum}.`
      : `Start: each rank holds its own array in ${p} parts of ${format(part, 0)} MB.`;
    stage.say(`${now} Sent by each rank: ${format(k * part, 0)} of ${format(ring, 0)} MB; by rank 0 of the ordered sum: ${format(ordered, 0)} MB.`);
    const rows = held.map((parts, r) => `rank ${r}: ${parts.map((who) => who.join("")).join(" ")}`);
    grid.label(`After step ${k} of ${steps()}, the ranks whose summands are in each part: ${rows.join("; ")}.`);
    cost.label(`Sent by the busiest rank: ring ${format(ring, 0)} MB, of them ${format(k * part, 0)} until now; ordered ${format(ordered, 0)} MB.`);
  };
};
