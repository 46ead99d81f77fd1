// What p ranks give and what their exchange costs, from four numbers of a machine and a network.
"use strict";

Figures.scaling = (stage) => {
  const { add, format } = stage;
  stage.columns(3);
  stage.room(3, 8);

  // A slider over rounded numbers 1, 2, 5, 10, ... each about twice the last; `.at` is the number.
  function steps({ key, label, from, to, value, unit }) {
    const numbers = [];
    for (let power = from; power <= to; power *= 10) numbers.push(...[1, 2, 5].map((digit) => Number((digit * power).toPrecision(1))));
    const choices = numbers.filter((n) => n <= to);
    const show = (i) => `${choices[i]} ${unit}`;
    const range = stage.range({ key, label, min: 0, max: choices.length - 1, step: 1, value: choices.indexOf(value), show });
    return { get at() { return choices[range.value]; } };
  }
  const compute = steps({ key: "compute", label: "Step T₁", from: 10, to: 1000, value: 100, unit: "ms" });
  const size = steps({ key: "size", label: "Gradient", from: 1, to: 1000, value: 20, unit: "MB" });
  const alpha = steps({ key: "alpha", label: "Latency α", from: 1, to: 1000, value: 50, unit: "µs" });
  const speed = steps({ key: "speed", label: "Rate 1/β", from: 0.1, to: 100, value: 1, unit: "GB/s" });
  const ranks = stage.range({ key: "ranks", label: "Ranks p", min: 1, max: 64, step: 1, value: 8, show: String });
  const algorithm = stage.select({
    key: "algorithm",
    label: "All-reduce",
    options: { ring: "ring", recursive_doubling: "recursive doubling", tree: "tree", ordered: "ordered" },
    value: "ring",
  });

  // The longest chain of messages, and the arrays that travel along it one after the other.
  const rounds = (p) => Math.ceil(Math.log2(p));
  const doubling = (p) => (Number.isInteger(Math.log2(p)) ? Math.log2(p) : Math.floor(Math.log2(p)) + 2);
  const CHAINS = {
    ring: (p) => [2 * (p - 1), (2 * (p - 1)) / p],
    recursive_doubling: (p) => [doubling(p), doubling(p)],
    tree: (p) => [2 * rounds(p), 2 * rounds(p)],
    ordered: (p) => [2 * (p - 1), 2 * (p - 1)],
  };

  // Times in milliseconds: a megabyte at one gigabyte per second takes one.
  function cost(p) {
    const [messages, arrays] = CHAINS[algorithm.value](p);
    const latency = (messages * alpha.at) / 1000;
    const bytes = (arrays * size.at) / speed.at;
    const [strong, weak] = [compute.at / p + latency + bytes, compute.at + latency + bytes];
    return { latency, bytes, strong, weak, strongUp: compute.at / strong, weakUp: (p * compute.at) / weak };
  }

  const MOST = 64;
  const POWERS = [1, 2, 4, 8, 16, 32, 64];
  const view = stage.picture({ width: 340, height: 330, title: "How many times as fast" });
  const bars = stage.picture({ width: 340, height: 330, title: "A step with the batch shared out" });

  // Left: speed-ups, both axes in doublings.
  const area = { left: 44, right: 332, top: 8, bottom: 290 };
  const x = stage.scale([0, 6], [area.left, area.right]);
  const y = stage.scale([-2, 6], [area.bottom, area.top]);
  const grid = view.group({ class: "axes" });
  for (const p of POWERS) {
    const at = Math.log2(p);
    add(grid, "line", { x1: x(at), x2: x(at), y1: area.top, y2: area.bottom });
    add(grid, "text", { x: x(at), y: area.bottom + 16, "text-anchor": "middle", text: p });
  }
  for (const [times, text] of [[0.25, "¼"], [0.5, "½"], ...POWERS.map((p) => [p, p])]) {
    add(grid, "line", { x1: area.left, x2: area.right, y1: y(Math.log2(times)), y2: y(Math.log2(times)) });
    add(grid, "text", { x: area.left - 6, y: y(Math.log2(times)) + 4, "text-anchor": "end", text });
  }
  add(grid, "text", { x: (area.left + area.right) / 2, y: area.bottom + 34, "text-anchor": "middle", text: "ranks" });
  const inside = stage.clip(view, area);
  const place = (p, times) => [x(Math.log2(p)), y(Math.log2(times))];
  add(inside, "path", { class: "line faint", "stroke-dasharray": "2 4", d: stage.path([place(1, 1), place(MOST, MOST)]) });
  const weakLine = add(inside, "path", { class: "line orange dashed" });
  const strongLine = add(inside, "path", { class: "line blue" });
  const weakDot = add(inside, "circle", { r: 5, class: "orange-area" });
  const strongDot = add(inside, "circle", { r: 5, class: "blue-area" });
  const names = [["line faint", "2 4", "ideal"], ["line orange dashed", "6 4", "weak scaling"], ["line blue", "none", "strong scaling"]];
  names.forEach(([look, dashes, text], k) => {
    const at = area.top + 14 + 19 * k;
    view.add("path", { class: look, "stroke-dasharray": dashes, d: `M${area.left + 8} ${at}h28` });
    view.add("text", { x: area.left + 42, y: at + 4, text });
  });

  // A round distance of grid lines that gives at most six of them.
  function distance(top) {
    const power = 10 ** Math.floor(Math.log10(top / 6));
    return [1, 2, 5, 10].map((digit) => digit * power).find((step) => top / step <= 6);
  }

  // Right: where the time of a step goes, for strong scaling.
  function drawBars() {
    bars.clear();
    const all = POWERS.map((p) => ({ p, ...cost(p) }));
    const top = 1.04 * Math.max(...all.map((c) => c.strong));
    const gap = distance(top);
    const ticks = Array.from({ length: Math.floor(top / gap) + 1 }, (_, k) => Number((k * gap).toPrecision(6)));
    const axes = stage.axes(bars, { x: [-0.6, 6.6], y: [0, top], xTicks: [], yTicks: ticks, xLabel: "", yLabel: "ms", left: 58, top: 30, bottom: 40 });
    bars.add("text", { x: (axes.area.left + axes.area.right) / 2, y: axes.area.bottom + 34, "text-anchor": "middle", text: "ranks" });
    all.forEach(({ p, latency, bytes }, k) => {
      let from = 0;
      for (const [part, look] of [[compute.at / p, "blue-area"], [latency, "pink-area"], [bytes, "orange-area"]]) {
        const [low, high] = [axes.y(from), axes.y(from + part)];
        bars.add("rect", { x: axes.x(k - 0.33), width: axes.x(0.66) - axes.x(0), y: high, height: low - high, class: look });
        from += part;
      }
      bars.add("text", { x: axes.x(k), y: axes.area.bottom + 16, "text-anchor": "middle", text: p });
    });
    const legend = [["blue-area", "computing", 58], ["pink-area", "latency", 160], ["orange-area", "bytes", 244]];
    for (const [look, text, at] of legend) {
      bars.add("rect", { x: at, y: 6, width: 13, height: 13, class: look });
      bars.add("text", { x: at + 18, y: 17, text });
    }
  }

  stage.draw = () => {
    const p = ranks.value;
    const curve = (key) => stage.path(Array.from({ length: MOST }, (_, i) => place(i + 1, cost(i + 1)[key])));
    stage.set(strongLine, { d: curve("strongUp") });
    stage.set(weakLine, { d: curve("weakUp") });
    const here = cost(p);
    for (const [dot, key] of [[strongDot, "strongUp"], [weakDot, "weakUp"]]) {
      const [cx, cy] = place(p, here[key]);
      stage.set(dot, { cx, cy });
    }
    drawBars();
    // The fewest ranks that are fastest: two may be equally fast but for the last bit.
    let best = 1;
    for (let q = 2; q <= MOST; q++) if (cost(q).strong < (1 - 1e-12) * cost(best).strong) best = q;
    const scaling = (name, ms, up) => `${name} scaling: ${format(ms, 1)} ms, ${format(up)} times as fast, efficiency ${format((100 * up) / p, 0)} %.`;
    stage.say(`On ${p} ${p > 1 ? "ranks" : "rank"} the all-reduce takes ${format(here.latency + here.bytes, 1)} ms, ${format(here.latency, 1)} of them latency. ${scaling("Strong", here.strong, here.strongUp)} ${scaling("Weak", here.weak, here.weakUp)} Strong scaling is fastest on ${best} of up to ${MOST} ranks: ${format(cost(best).strong, 1)} ms.`);
    view.label(`Speed-up over 1 to ${MOST} ranks. On ${p}: strong scaling ${format(here.strongUp)}, weak scaling ${format(here.weakUp)}, ideal ${p}.`);
    bars.label(`A step in milliseconds with the batch shared by ${POWERS.map((q) => `${q}: ${format(cost(q).strong, 1)}`).join(", ")}.`);
  };
};
