// Gradient descent from above: choose the start, the rate and the momentum, and watch the path.
"use strict";

Figures.descent = (stage) => {
  const { add, set, format } = stage;

  // Loss, gradient, largest curvature at the minimum, where the minimum is, and where to start.
  const SURFACES = {
    bowl: {
      loss: (x, y) => (x * x + 10 * y * y) / 2,
      slope: (x, y) => [x, 10 * y],
      steepest: 10,
      minimum: [0, 0],
      start: [-2.5, 1],
      levels: [0.25, 1, 3, 7, 14],
    },
    valley: {
      loss: (x, y) => (x - 1) ** 2 / 2 + 2 * (y - x * x) ** 2,
      slope: (x, y) => [x - 1 - 8 * x * (y - x * x), 4 * (y - x * x)],
      steepest: (21 + Math.sqrt(21 ** 2 - 16)) / 2, // of [[17, -8], [-8, 4]], the Hessian at (1, 1)
      minimum: [1, 1],
      start: [-1, 1.5],
      levels: [0.1, 0.5, 1.5, 4, 12],
    },
  };
  const MOST = 100;

  const options = { bowl: "bowl", valley: "curved valley" };
  const chosen = stage.select({ key: "surface", label: "Surface", options, value: "bowl" });
  const rate = stage.range({ key: "rate", label: "Rate η", min: 0.01, max: 0.25, step: 0.01, value: 0.05, show: (v) => format(v) });
  const momentum = stage.range({ key: "momentum", label: "Momentum", min: 0, max: 0.95, step: 0.05, value: 0, show: (v) => format(v) });
  const startX = stage.range({ key: "x", label: "Start, θ₁", min: -2.8, max: 2.8, step: 0.1, value: -2.5 });
  const startY = stage.range({ key: "y", label: "Start, θ₂", min: -1.8, max: 1.8, step: 0.1, value: 1 });
  const steps = stage.range({ key: "steps", label: "Steps", min: 0, max: MOST, step: 1, value: 12, show: (v) => format(v, 0) });
  stage.player({
    every: 250,
    advance: () => (steps.value += 1) < MOST,
    restart: () => (steps.value = 0),
  });
  stage.room(2, 4);
  stage.columns(3);

  const map = stage.picture({ width: 340, height: 270, title: "From above" });
  const axes = stage.axes(map, {
    x: [-3, 3], y: [-2, 2], xTicks: [-2, 0, 2], yTicks: [-2, -1, 0, 1, 2], xLabel: "θ₁", yLabel: "θ₂", left: 34,
  });
  const inside = stage.clip(map, axes.area);
  const contours = add(inside, "path", { class: "contour" });
  const minimum = add(inside, "path", { class: "line" });
  const track = add(inside, "path", { class: "line orange track" });
  const stops = add(inside, "g", {});
  const home = add(inside, "rect", { width: 11, height: 11, class: "blue-area" });

  const chart = stage.picture({ width: 340, height: 270, title: "The loss, step by step" });
  const loss = stage.axes(chart, {
    x: [0, MOST], y: [-8, 4], xTicks: [0, 25, 50, 75, 100], yTicks: [], xLabel: "step", left: 44, right: 16,
  });
  for (const [power, text] of [[-8, "10⁻⁸"], [-4, "10⁻⁴"], [0, "1"], [4, "10⁴"]]) {
    chart.add("path", { class: "gridline", d: `M${loss.area.left} ${loss.y(power)}H${loss.area.right}` });
    chart.add("text", { x: loss.area.left - 6, y: loss.y(power) + 4, "text-anchor": "end", text });
  }
  const curve = add(stage.clip(chart, loss.area), "path", { class: "line orange" });
  const now = chart.add("circle", { r: 5, class: "orange-area" });

  let shown = "";
  function show(surface) {
    if (shown !== "") [startX.value, startY.value] = surface.start;
    shown = chosen.value;
    set(contours, { d: surface.levels.map((level) => stage.contour(surface.loss, level, axes)).join("") });
    const [x, y] = [axes.x(surface.minimum[0]), axes.y(surface.minimum[1])];
    set(minimum, { d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10` });
  }

  // The heavy ball: the velocity keeps a share of itself and gains the gradient.
  function descend(surface) {
    let [x, y] = [startX.value, startY.value];
    let velocity = [0, 0];
    const places = [[x, y]];
    while (places.length <= steps.value && Math.hypot(x, y) < 1e6) {
      const slope = surface.slope(x, y);
      velocity = velocity.map((v, i) => momentum.value * v + slope[i]);
      x -= rate.value * velocity[0];
      y -= rate.value * velocity[1];
      places.push([x, y]);
    }
    return places;
  }

  function draw() {
    const surface = SURFACES[chosen.value];
    if (shown !== chosen.value) show(surface);
    const places = descend(surface);
    const losses = places.map(([x, y]) => surface.loss(x, y));
    const near = (v, limit) => Math.max(-limit, Math.min(limit, v));
    const points = places.map(([x, y]) => [axes.x(near(x, 50)), axes.y(near(y, 50))]);
    set(track, { d: stage.path(points) });
    stops.replaceChildren();
    for (const [cx, cy] of points.slice(1)) add(stops, "circle", { cx, cy, r: 3, class: "orange-area" });
    set(home, { x: points[0][0] - 5.5, y: points[0][1] - 5.5 });
    const heights = losses.map((v, t) => [loss.x(t), loss.y(near(Math.log10(v + 1e-30), 20))]);
    set(curve, { d: stage.path(heights) });
    const [cx, cy] = heights[heights.length - 1];
    set(now, { cx, cy: Math.max(loss.area.top, Math.min(loss.area.bottom, cy)) });

    const limit = (2 * (1 + momentum.value)) / surface.steepest;
    const side = Math.abs(rate.value - limit) < 1e-9 ? "at" : rate.value < limit ? "below" : "above";
    const [x, y] = places[places.length - 1];
    const taken = places.length - 1;
    const place = `(${format(x, 3)}, ${format(y, 3)})`;
    const value = losses[taken] < 1e-4 ? losses[taken].toExponential(2).replace("-", "−") : format(losses[taken], 4);
    const out = losses[taken] > 1000 * Math.max(1, losses[0]) ? " It is thrown out." : "";
    const where = chosen.value === "bowl" ? "the limit" : "the limit at the minimum,";
    stage.say(
      `After ${taken} steps at ${place}, loss ${value}.${out} The rate ${format(rate.value)} is ${side} ${where} ${format(limit, 3)}.`,
    );
    map.label(`Lines of equal loss of the ${options[chosen.value]}, and a path of ${taken} steps from (${format(startX.value, 1)}, ${format(startY.value, 1)}) to ${place}.`);
    chart.label(`The loss over ${taken} steps, on a logarithmic scale, from ${format(losses[0], 3)} to ${value}.`);
  }
  stage.draw = draw;

  map.svg.classList.add("target");
  map.svg.addEventListener("click", (event) => {
    const box = map.svg.getBoundingClientRect();
    const units = (px) => (px / box.width) * map.width;
    startX.value = axes.x.back(units(event.clientX - box.left));
    startY.value = axes.y.back(units(event.clientY - box.top));
    stage.redraw();
  });
};
