// An activation, its derivative, and the tangent where you stand: drag the point, or use the slider.
"use strict";

Figures.activations = (stage) => {
  const { add, set, format } = stage;

  // The normal distribution function by its series and, far out, its continued fraction.
  function phi(z) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    if (Math.abs(z) > 5) {
      let tail = 0;
      for (let k = 40; k > 0; k--) tail = k / (Math.abs(z) + tail);
      tail = density / (Math.abs(z) + tail);
      return z > 0 ? 1 - tail : tail;
    }
    let [sum, term] = [z, z];
    for (let k = 1; k < 80; k++) {
      term *= (z * z) / (2 * k + 1);
      sum += term;
    }
    return 0.5 + density * sum;
  }
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const normal = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);

  // Value and derivative, as in the chapter.
  const PAIRS = {
    identity: [(z) => z, () => 1],
    sigmoid: [sigmoid, (z) => sigmoid(z) * (1 - sigmoid(z))],
    tanh: [Math.tanh, (z) => 1 - Math.tanh(z) ** 2],
    relu: [(z) => Math.max(0, z), (z) => (z > 0 ? 1 : 0)],
    leaky_relu: [(z) => (z > 0 ? z : 0.01 * z), (z) => (z > 0 ? 1 : 0.01)],
    elu: [(z) => (z > 0 ? z : Math.expm1(z)), (z) => (z > 0 ? 1 : Math.exp(z))],
    gelu: [(z) => z * phi(z), (z) => phi(z) + z * normal(z)],
    silu: [(z) => z * sigmoid(z), (z) => sigmoid(z) * (1 + z * (1 - sigmoid(z)))],
    softplus: [(z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))), sigmoid],
  };

  const options = Object.fromEntries(Object.keys(PAIRS).map((name) => [name, name]));
  const chosen = stage.select({ key: "name", label: "Activation", options, value: "tanh" });
  const z = stage.range({ key: "z", label: "Input z", min: -6, max: 6, step: 0.1, value: 1, show: (v) => format(v, 1) });

  stage.room(2, 4);
  const picture = stage.picture({ width: 520, height: 340, fill: true });
  const y = [-1.6, 3.2];
  let axes = null;

  const curve = (f) => {
    const points = [];
    // The corner of a ReLU lies on a point, and so do both ends of the jump of its derivative.
    for (let i = -600; i <= 600; i++) points.push([axes.x(i / 100), axes.y(f(i / 100))]);
    return stage.path(points);
  };

  function draw() {
    const [f, df] = PAIRS[chosen.value];
    const [value, slope] = [f(z.value), df(z.value)];
    picture.clear();
    axes = stage.axes(picture, {
      x: [-6, 6], y, xTicks: [-6, -4, -2, 0, 2, 4, 6], yTicks: [-1, 0, 1, 2, 3], xLabel: "z", left: 30,
    });
    const inside = stage.clip(picture, axes.area);
    add(inside, "path", { class: "line faint", d: `${stage.path([[axes.x(-6), axes.y(0)], [axes.x(6), axes.y(0)]])}` });
    add(inside, "path", { class: "line orange dashed", d: curve(df) });
    add(inside, "path", { class: "line blue", d: curve(f) });
    const reach = 1.6 / Math.hypot(1, slope);
    const tangent = [-reach, reach].map((s) => [axes.x(z.value + s), axes.y(value + s * slope)]);
    add(inside, "path", { class: "line", d: stage.path(tangent) });
    const at = (height) => ({ cx: axes.x(z.value), cy: axes.y(height) });
    add(inside, "path", { class: "line faint dashed", "stroke-width": 1, d: stage.path([[axes.x(z.value), axes.area.bottom], [axes.x(z.value), axes.y(value)]]) });
    add(inside, "circle", { ...at(slope), r: 5, class: "dot orange paper-area" });
    add(inside, "circle", { ...at(value), r: 7, class: "dot blue blue-area" });
    const legend = [["line blue", "f(z), the value"], ["line orange dashed", "f′(z), the derivative"], ["line", "tangent: its slope is f′(z)"]];
    legend.forEach(([look, text], i) => {
      const height = axes.area.top + 12 + 19 * i;
      picture.add("path", { class: look, d: `M${axes.area.left + 8} ${height}h26` });
      picture.add("text", { x: axes.area.left + 42, y: height + 4, text });
    });
    stage.say(
      `${chosen.value} at z = ${format(z.value, 1)}: value ${format(value, 4)}, derivative ${format(slope, 4)}. ` +
        `A gradient on its way back is multiplied by ${format(slope, 4)} here.`,
    );
    picture.label(
      `The curve of ${chosen.value}, its derivative, and the tangent at z = ${format(z.value, 1)}, where the value is ${format(value, 4)} and the slope ${format(slope, 4)}.`,
    );
  }
  stage.draw = draw;

  // The point follows a finger or a mouse. Sideways only: a page still scrolls up and down.
  const follow = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = picture.svg.getBoundingClientRect();
    const units = ((event.clientX - box.left) / box.width) * picture.width;
    z.value = Math.max(-6, Math.min(6, axes.x.back(units)));
    stage.redraw();
  };
  picture.svg.classList.add("sideways");
  picture.svg.addEventListener("pointerdown", follow);
  picture.svg.addEventListener("pointermove", follow);
};
