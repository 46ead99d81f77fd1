// A network learns a border epoch by epoch, first the rule and then every single point.
"use strict";

Figures.boundary = (stage) => {
  const { add, set, format } = stage;
  const { network, points, judge, paint } = Figures.plane;
  const data = Figures.boundaryData;
  const last = data.weights.length - 1;
  const samples = points(data);
  const parts = { training: samples.slice(0, data.samples), validation: samples.slice(data.samples) };

  stage.room(2, 5);
  stage.columns(3);
  const whole = (v) => String(v);
  const epoch = stage.range({ key: "epoch", label: "Epoch", min: 0, max: last, step: 1, value: 0, show: whole });
  const patience = stage.range({ key: "patience", label: "Patience", min: 1, max: 30, step: 1, value: 5, show: whole });
  const part = stage.select({
    key: "part",
    label: "Points",
    options: { training: "training", validation: "validation (held out)" },
    value: "training",
  });
  stage.player({
    advance: () => {
      epoch.value += 1;
      return epoch.value < last;
    },
    restart: () => {
      epoch.value = 0;
    },
    every: 250,
  });

  // Left: the plane in the colours of the answers, with the points on it.
  const span = [-2.5, 2.5];
  const plane = stage.picture({ width: 340, height: 356, title: "What the network answers where" });
  const ticks = [-2, -1, 0, 1, 2];
  const left = stage.axes(plane, { x: span, y: span, xTicks: ticks, yTicks: ticks, xLabel: "x₁", yLabel: "x₂" });
  const inside = stage.clip(plane, left.area);
  const colour = paint(inside, left);
  const dots = Object.fromEntries(
    Object.entries(parts).map(([name, some]) => {
      const group = add(inside, "g", {});
      const marks = some.map((p) => {
        const spot = add(group, "g", { transform: `translate(${left.x(p.x).toFixed(1)} ${left.y(p.y).toFixed(1)})` });
        const ring = add(spot, "circle", { r: 7.5, class: "line" });
        // Filled circles and empty squares: the classes differ in shape, too.
        if (p.label) add(spot, "circle", { r: 3.4, class: "blue-area" });
        else add(spot, "rect", { x: -3, y: -3, width: 6, height: 6, class: "dot orange paper-area", "stroke-width": 2 });
        return { p, ring };
      });
      return [name, { group, marks }];
    }),
  );

  // Right: both losses over the epochs, as far as the network has come.
  const losses = Object.fromEntries(Object.entries(parts).map(([name, some]) => [
    name, data.weights.map((_, e) => judge(network(data, e), some).loss),
  ]));
  const view = stage.picture({ width: 340, height: 356, title: "The losses so far" });
  const right = stage.axes(view, {
    x: [0, last], y: [0, 0.9], xTicks: [0, 20, 40, 60], yTicks: [0, 0.2, 0.4, 0.6, 0.8], xLabel: "epoch", yLabel: "loss",
  });
  const curves = {
    training: view.add("path", { class: "line blue" }),
    validation: view.add("path", { class: "line orange dashed" }),
  };
  const stopLine = view.add("path", { class: "line faint", "stroke-dasharray": "2 4" });
  const stopText = view.add("text", { y: right.area.top + 60, class: "small" });
  const best = view.add("circle", { r: 6.5, class: "line" });
  const legend = (name, y) => {
    view.add("path", { class: curves[name].getAttribute("class"), d: `M${right.area.right - 118} ${y}h28` });
    view.add("text", { x: right.area.right - 84, y: y + 4, text: name });
  };
  legend("training", 20);
  legend("validation", 40);

  // The first epoch of the lowest validation loss among 1 ... e; epoch 0 is not trained yet.
  function lowest(e) {
    let found = 1;
    for (let t = 2; t <= e; t++) if (losses.validation[t] < losses.validation[found]) found = t;
    return found;
  }

  // When early stopping would stop, or null if not within this run.
  function stopped() {
    for (let t = 1; t <= last; t++) if (t - lowest(t) >= patience.value) return t;
    return null;
  }

  function drawPlane(answer, results) {
    colour(answer);
    for (const [name, { group, marks }] of Object.entries(dots)) {
      set(group, { visibility: name === part.value ? "visible" : "hidden" });
      for (const { p, ring } of marks) set(ring, { "stroke-opacity": results[name].wrong.includes(p) ? 1 : 0 });
    }
  }

  function drawCurves(e, stop) {
    for (const [name, curve] of Object.entries(curves)) {
      set(curve, { d: stage.path(losses[name].slice(0, e + 1).map((v, t) => [right.x(t), right.y(v)])) });
    }
    const t = lowest(e);
    set(best, { cx: right.x(t), cy: right.y(losses.validation[t]), "stroke-opacity": e > 0 ? 1 : 0 });
    const reached = stop !== null && e >= stop;
    const x = reached ? right.x(stop) : 0;
    set(stopLine, { d: reached ? `M${x} ${right.area.top + 66}V${right.area.bottom}` : "" });
    const side = x < (right.area.left + right.area.right) / 2;
    set(stopText, { x: x + (side ? -4 : 4), "text-anchor": side ? "start" : "end" });
    stopText.textContent = reached ? `stop (patience ${patience.value})` : "";
  }

  stage.draw = () => {
    const e = epoch.value;
    const answer = network(data, e);
    const results = { training: judge(answer, parts.training), validation: judge(answer, parts.validation) };
    const stop = stopped();
    drawPlane(answer, results);
    drawCurves(e, stop);
    const tell = (name) => `${name} loss ${format(results[name].loss, 3)}, ${results[name].right} of ${parts[name].length} right`;
    const least = e ? ` (lowest ${format(losses.validation[lowest(e)], 3)} in epoch ${lowest(e)})` : "";
    const verdict = stop !== null && e >= stop ? ` Patience ${patience.value} stops in epoch ${stop}.` : "";
    stage.say(`Epoch ${e}: ${tell("training")}; ${tell("validation")}${least}.${verdict}`);
    plane.label(`The answers over the plane after epoch ${e}, with the ${part.value} points; ${results[part.value].wrong.length} are ringed because they are wrong.`);
    view.label(`Losses up to epoch ${e}: training ${format(results.training.loss, 3)}, validation ${format(results.validation.loss, 3)}.`);
  };
};
