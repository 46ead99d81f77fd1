// One neuron as a graph: values walk to the right, then derivatives walk back, one step at a time.
"use strict";

Figures.backprop = (stage) => {
  const { add, format } = stage;
  const RADIUS = 19;
  const NODES = { w: [0, 0], x: [0, 1.2], u: [1, 0.6], b: [1, 1.8], z: [2, 1.2], a: [3, 1.2], y: [3, 2.3], L: [4, 1.2] };
  const EDGES = [["w", "u"], ["x", "u"], ["u", "z"], ["b", "z"], ["z", "a"], ["a", "L"], ["y", "L"]];
  // Which number each step computes, forward and then backward.
  const FORWARD = [["u"], ["z"], ["a"], ["L"]];
  const BACKWARD = [["L"], ["a", "y"], ["z"], ["u", "b"], ["w", "x"]];
  const LAST = FORWARD.length + BACKWARD.length;

  const knob = (key, label, value) =>
    stage.range({ key, label, min: -3, max: 3, step: 0.25, value, show: (v) => format(v) });
  const inputs = {
    x: knob("x", "Input x", 2),
    w: knob("w", "Weight w", 0.5),
    b: knob("b", "Bias b", -1),
    y: knob("y", "Target y", 1),
  };
  let step = 0;
  stage.button("Previous", () => (step = Math.max(0, step - 1)));
  stage.button("Next", () => (step = Math.min(LAST, step + 1)));
  stage.button("Start again", () => (step = 0));
  stage.room(2, 5);
  const small = (width) => width < 520;
  const picture = stage.picture({ width: 700, height: (width) => (small(width) ? 440 : 330), fill: true });

  // All values, the rate of each edge, and the derivative of L by each number.
  function compute() {
    const v = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
    v.u = v.w * v.x;
    v.z = v.u + v.b;
    v.a = 1 / (1 + Math.exp(-v.z));
    v.L = (v.a - v.y) ** 2;
    const e = 2 * (v.a - v.y);
    const rate = { wu: v.x, xu: v.w, uz: 1, bz: 1, za: v.a * (1 - v.a), aL: e, yL: -e };
    const d = { L: 1 };
    for (const [from, to] of [...EDGES].reverse()) d[from] = d[to] * rate[from + to];
    return { v, rate, d };
  }

  const known = () => {
    const values = ["x", "w", "b", "y", ...FORWARD.slice(0, step).flat()];
    return { values, derivatives: BACKWARD.slice(0, Math.max(0, step - FORWARD.length)).flat() };
  };

  // The step in words: what is computed, from what.
  function sentence({ v, rate, d }) {
    const n = (value) => format(value, 3);
    const product = (from, to, symbol) => `d${from} = d${to} · ${symbol} = ${n(d[to])} · ${n(rate[from + to])} = ${n(d[from])}`;
    const steps = [
      "The four inputs are known. Next: the product.",
      `Forward: u = w · x = ${n(v.w)} · ${n(v.x)} = ${n(v.u)}.`,
      `Forward: z = u + b = ${n(v.u)} + ${n(v.b)} = ${n(v.z)}.`,
      `Forward: a = σ(z) = σ(${n(v.z)}) = ${n(v.a)}.`,
      `Forward: L = (a − y)² = (${n(v.a)} − ${n(v.y)})² = ${n(v.L)}.`,
      `Backward: dL = ${n(1)}. L moves with itself, one to one.`,
      `Backward: ${product("a", "L", "2(a − y)")}. The target gets the opposite, dy = ${n(d.y)}.`,
      `Backward: ${product("z", "a", "a(1 − a)")}.`,
      `Backward: a sum hands on what it gets, du = ${n(d.u)} and db = ${n(d.b)}.`,
      `Backward: ${product("w", "u", "x")}, and ${product("x", "u", "w")}.`,
    ];
    return `Step ${step} of ${LAST}. ${steps[step]}`;
  }

  const current = () => (step > FORWARD.length ? BACKWARD[step - FORWARD.length - 1] : (FORWARD[step - 1] ?? []));

  function drawEdge(from, to, places, rate, derivatives) {
    const backward = step > FORWARD.length;
    const active = backward ? current().includes(from) : current().includes(to);
    const [[x1, y1], [x2, y2]] = [places[from], places[to]];
    const length = Math.hypot(x2 - x1, y2 - y1);
    const [cx, cy] = [(x2 - x1) / length, (y2 - y1) / length];
    const at = (s, t = 0) => [x1 + s * cx - t * cy, y1 + s * cy + t * cx];
    const [start, end] = [RADIUS + 4, length - RADIUS - 4];
    const tip = backward && active ? start : end;
    const inward = tip === start ? 8 : -8;
    const kind = active ? (backward ? "orange" : "blue") : "faint";
    const head = stage.path([at(tip + inward, 5), at(tip), at(tip + inward, -5)]);
    picture.add("path", { class: `line edge ${kind}`, d: stage.path([at(start), at(end)]) + head });
    if (!derivatives.includes(from)) return;
    const [x, y] = at(0.45 * length);
    const text = `·${rate < 0 ? `(${format(rate, 3)})` : format(rate, 3)}`;
    const half = 3.3 * text.length;
    picture.add("rect", { class: "paper-area", x: x - half, y: y - 9, width: 2 * half, height: 18, rx: 4 });
    picture.add("text", { class: "small", x, y: y + 4, "text-anchor": "middle", "data-rate": from + to, text });
  }

  function drawNode(name, [x, y], { v, d }, { values, derivatives }) {
    const now = current().includes(name);
    const kind = now ? (step > FORWARD.length ? "orange" : "blue") : "faint";
    picture.add("circle", { class: `dot paper-area ${kind}`, cx: x, cy: y, r: RADIUS });
    picture.add("text", { class: "strong", x, y: y + 5, "text-anchor": "middle", text: name });
    // Above and below the node, or beside it where the graph runs downwards.
    const beside = small(picture.width);
    const label = (dx, dy, kind, key, text) =>
      picture.add("text", { class: `${kind} strong`, x: x + dx, y: y + dy, "text-anchor": beside ? "start" : "middle", [key]: name, text });
    const side = beside ? RADIUS + 5 : 0;
    if (values.includes(name)) label(side, beside ? -3 : -RADIUS - 7, "blue-area", "data-value", format(v[name], 3));
    if (derivatives.includes(name)) label(side, beside ? 14 : RADIUS + 17, "orange-area", "data-derivative", format(d[name], 3));
  }

  stage.draw = () => {
    const numbers = compute();
    const seen = known();
    picture.clear();
    const { width, height } = picture;
    const down = small(width);
    const places = {};
    for (const [name, [column, row]] of Object.entries(NODES)) {
      places[name] = down
        ? [28 + (row / 2.3) * (width - 100), 30 + (column / 4) * (height - 60)]
        : [48 + (column / 4) * (width - 96), 52 + (row / 2.3) * (height - 100)];
    }
    for (const [from, to] of EDGES) drawEdge(from, to, places, numbers.rate[from + to], seen.derivatives);
    for (const name of Object.keys(NODES)) drawNode(name, places[name], numbers, seen);
    if (!down) {
      const write = (y, kind, text) => picture.add("text", { class: kind, x: width - 12, y, "text-anchor": "end", text });
      write(24, "blue-area", "values: forward →");
      write(44, "orange-area", "← derivatives of L: backward");
    }
    stage.say(sentence(numbers));
    const list = (names, of, prefix) => names.map((name) => `${prefix}${name} = ${format(of[name], 3)}`).join(", ");
    const back = seen.derivatives.length ? ` Derivatives of L: ${list(seen.derivatives, numbers.d, "d")}.` : "";
    picture.label(`Graph of a neuron, step ${step} of ${LAST}. Values: ${list(seen.values, numbers.v, "")}.${back}`);
  };
};
