// A network at work: its weights beside what it answers, from the first guess to the last epoch.
"use strict";

Figures.landing = (stage) => {
  const { add, set } = stage;
  const { network, points, judge, paint } = Figures.plane;
  const data = Figures.boundaryData;
  const last = data.weights.length - 1;
  const samples = points(data).slice(0, data.samples);

  const epoch = stage.range({ key: "epoch", label: "Epoch", min: 0, max: last, step: 1, value: last, show: String });
  stage.player({
    // After the last epoch from the start again, until somebody says pause.
    advance: () => {
      epoch.value = epoch.value < last ? epoch.value + 1 : 0;
      return true;
    },
    restart: () => {
      epoch.value = 0;
    },
    every: 200,
  });

  stage.room(1, 2);

  // Left: units as circles, weights as lines; the thicker the larger, blue for positive.
  const wires = stage.picture({ width: 320, height: 320, title: "Its weights" });
  const place = (layer, unit) => {
    const [count, layers] = [data.sizes[layer], data.sizes.length];
    return [24 + (layer * 272) / (layers - 1), 160 + (unit - (count - 1) / 2) * Math.min(120, 280 / (count - 1 || 1))];
  };
  const lines = [];
  let at = 0;
  for (let layer = 1; layer < data.sizes.length; layer++) {
    const [m, n] = [data.sizes[layer - 1], data.sizes[layer]];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const d = stage.path([place(layer - 1, i), place(layer, j)]);
        lines.push({ line: wires.add("path", { d, class: "line" }), index: at + i * n + j });
      }
    }
    at += m * n + n;
  }
  data.sizes.forEach((count, layer) => {
    for (let unit = 0; unit < count; unit++) {
      const [cx, cy] = place(layer, unit);
      wires.add("circle", { cx, cy, r: layer % (data.sizes.length - 1) ? 7 : 10, class: "line paper-area" });
    }
  });

  // Right: the plane in the colours of the answers.
  const plane = stage.picture({ width: 320, height: 320, title: "What it answers where" });
  const area = { left: 4, right: 316, top: 4, bottom: 316 };
  const span = [-2.5, 2.5];
  const x = stage.scale(span, [area.left, area.right]);
  const y = stage.scale(span, [area.bottom, area.top]);
  const inside = stage.clip(plane, area);
  const colour = paint(inside, { area, x, y });
  for (const p of samples) {
    const [cx, cy] = [x(p.x).toFixed(1), y(p.y).toFixed(1)];
    if (p.label) add(inside, "circle", { cx, cy, r: 3.6, class: "blue-area" });
    else add(inside, "rect", { x: cx - 3, y: cy - 3, width: 6, height: 6, class: "dot orange paper-area" });
  }

  stage.draw = () => {
    const e = epoch.value;
    const answer = network(data, e);
    const { right } = judge(answer, samples);
    colour(answer);
    for (const { line, index } of lines) {
      const w = data.weights[e][index] / data.unit;
      const strength = Math.min(1, Math.abs(w) / 2);
      set(line, {
        class: `line ${w < 0 ? "orange" : "blue"}`,
        style: `stroke-width: ${(0.3 + 3 * strength).toFixed(2)}; stroke-opacity: ${(0.12 + 0.8 * strength).toFixed(2)}`,
      });
    }
    stage.say(`After epoch ${e} of ${last}: ${right} of ${samples.length} training points right.`);
    wires.label(`A network with ${data.sizes.join(", ")} units in its layers, after epoch ${e}: a line for each weight, blue if positive, orange if negative, thicker if larger.`);
    plane.label(`Two arms of a spiral, and what the network answers in the plane after epoch ${e}: ${right} of ${samples.length} points lie on the right side.`);
  };
};
