// One neuron with two inputs: turn its three knobs until its line gives a gate's four answers.
"use strict";

Figures.neuron = (stage) => {
  const { add, set, format } = stage;
  const CORNERS = [[0, 0], [0, 1], [1, 0], [1, 1]];
  const GATES = { and: [0, 0, 0, 1], or: [0, 1, 1, 1], nand: [1, 1, 1, 0], xor: [0, 1, 1, 0] };

  const options = { and: "AND", or: "OR", nand: "NAND", xor: "XOR" };
  const gate = stage.select({ key: "gate", label: "Gate", options, value: "and" });
  // Quarters are exact in binary, so a line through a corner is exactly that.
  const knob = (key, label, value) =>
    stage.range({ key, label, min: -3, max: 3, step: 0.25, value, show: (v) => format(v) });
  const w1 = knob("w1", "Weight w₁", 1);
  const w2 = knob("w2", "Weight w₂", 0.5);
  const b = knob("b", "Bias b", -1);

  const output = (x, y) => b.value + w1.value * x + w2.value * y;
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));

  // Left: the plane, with the line z = 0, the arrow of the weights, and the corners.
  const span = [-0.75, 1.75];
  const plane = stage.picture({ width: 320, height: 330, title: "The line z = 0, and who is right" });
  const axes = stage.axes(plane, {
    x: span, y: span, xTicks: [0, 1], yTicks: [0, 1], xLabel: "x₁", yLabel: "x₂", left: 34,
  });
  const inside = stage.clip(plane, axes.area);
  const paint = stage.field(inside, axes.area, 25);
  const line = add(inside, "path", { class: "line" });
  const arrow = add(inside, "path", { class: "line blue", "stroke-width": 3 });
  const dots = CORNERS.map(([x, y]) => {
    const spot = { transform: `translate(${axes.x(x)} ${axes.y(y)})` };
    const group = add(inside, "g", spot);
    return { circle: add(group, "circle", { r: 9 }), note: add(group, "text", { x: 13, y: -10, class: "strong" }) };
  });

  // Right: the answer of a sigmoid neuron as a surface in a box, seen from the corner (low, low).
  const N = 16;
  const view = stage.picture({ width: 320, height: 330, title: "The output σ(z) as a surface" });
  const project = (u, v, a) => [160 + 130 * (u - v), 292 - 66 * (u + v) - 140 * a];
  const frame = (points) => view.add("path", { class: "frame", d: stage.path(points.map((p) => project(...p))) });
  frame([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]);
  frame([[0, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 0]]);
  frame([[1, 1, 0], [1, 1, 1]]);
  const tiles = [];
  for (let j = N - 1; j >= 0; j--) {
    for (let i = N - 1; i >= 0; i--) tiles.push([view.add("path", {}), i, j]);
  }
  const write = (u, v, a, dx, dy, text, anchor = "middle") => {
    const [x, y] = project(u, v, a);
    view.add("text", { x: x + dx, y: y + dy, "text-anchor": anchor, text });
  };
  write(0.5, 0, 0, 12, 22, "x₁ →", "start");
  write(0, 0.5, 0, -12, 22, "← x₂", "end");
  write(0, 1, 0, -6, 4, "0", "end");
  write(0, 1, 1, -6, 4, "1", "end");

  function drawPlane(z, right) {
    const [low, high] = span;
    const width = high - low;
    paint((u, v) => 2 * sigmoid(2 * output(low + u * width, low + v * width)) - 1);
    const [p, q] = [w1.value, w2.value];
    const length = Math.hypot(p, q);
    if (length > 0) {
      const [nx, ny] = [p / length, q / length];
      const foot = [(-b.value / length) * nx, (-b.value / length) * ny];
      const at = (s, t) => [axes.x(foot[0] + s * nx - t * ny), axes.y(foot[1] + s * ny + t * nx)];
      set(line, { d: stage.path([at(0, -9), at(0, 9)]) });
      const tip = 0.16 * length;
      const head = `${stage.path([at(tip - 0.09, 0.06), at(tip, 0), at(tip - 0.09, -0.06)])}`;
      set(arrow, { d: stage.path([at(0, 0), at(tip, 0)]) + head });
    } else {
      set(line, { d: "" });
      set(arrow, { d: "" });
    }
    GATES[gate.value].forEach((wanted, k) => {
      set(dots[k].circle, { class: `dot ${wanted ? "blue blue-area" : "orange paper-area"}` });
      set(dots[k].note, { class: right[k] ? "strong" : "strong orange-area" });
      dots[k].note.textContent = right[k] ? "✓" : "✗";
    });
  }

  function drawSurface() {
    const [low, high] = span;
    const height = (i, j) => sigmoid(output(low + (i / N) * (high - low), low + (j / N) * (high - low)));
    for (const [tile, i, j] of tiles) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const d = `${stage.path(corners.map(([k, l]) => project(k / N, l / N, height(k, l))))}Z`;
      const middle = height(i + 0.5, j + 0.5);
      const share = Math.round(12 + 75 * Math.abs(2 * middle - 1));
      const colour = middle < 0.5 ? "--orange" : "--blue";
      set(tile, { d, class: "tile", style: `fill: color-mix(in srgb, var(${colour}) ${share}%, var(--paper))` });
    }
  }

  stage.draw = () => {
    const z = CORNERS.map(([x, y]) => output(x, y));
    const right = z.map((value, k) => (value >= 0 ? 1 : 0) === GATES[gate.value][k]);
    const count = right.filter(Boolean).length;
    drawPlane(z, right);
    drawSurface();
    const name = options[gate.value];
    const list = CORNERS.map(([x, y], k) => `${format(z[k])} at (${x}, ${y})`).join(", ");
    const done = count === 4 ? ` This neuron is ${name}.` : "";
    stage.say(`${count} of 4 corners right for ${name}.${done} The sum z is ${list}.`);
    const wrong = CORNERS.filter((_, k) => !right[k]).map((p) => `(${p.join(", ")})`);
    const where = wrong.length ? `wrong at ${wrong.join(", ")}` : "all corners right";
    plane.label(`The line of w = (${format(w1.value)}, ${format(w2.value)}), b = ${format(b.value)}, for ${name}: ${where}.`);
    view.label(`The sigmoid of z over the plane, from ${format(sigmoid(output(-0.75, -0.75)))} at (−0.75, −0.75) to ${format(sigmoid(output(1.75, 1.75)))} at (1.75, 1.75).`);
  };
};
