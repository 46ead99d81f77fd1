// A signal on its way through many layers that nobody trained: its size, layer by layer.
"use strict";

Figures.signal = (stage) => {
  const { add, format } = stage;
  const WIDTH = 100;
  const DEEPEST = 50;
  const SAMPLES = 8;
  const ACTIVATIONS = {
    relu: (z) => Math.max(0, z),
    tanh: Math.tanh,
    sigmoid: (z) => 1 / (1 + Math.exp(-z)),
    identity: (z) => z,
  };
  const LIMITS = [-12, 8]; // powers of ten that the picture shows

  const options = { relu: "ReLU", tanh: "tanh", sigmoid: "sigmoid", identity: "identity" };
  const chosen = stage.select({ key: "name", label: "Activation", options, value: "relu" });
  const gain = stage.range({ key: "gain", label: "Weights: g²", min: 0.2, max: 9, step: 0.2, value: 1, show: (v) => format(v, 1) });
  const depth = stage.range({ key: "depth", label: "Layers", min: 2, max: DEEPEST, step: 1, value: 30, show: (v) => format(v, 0) });
  const seed = stage.range({ key: "seed", label: "Seed", min: 0, max: 9, step: 1, value: 0, show: (v) => format(v, 0) });
  stage.button("Glorot: g² = 1", () => (gain.value = 1));
  stage.button("He: g² = 2", () => (gain.value = 2));
  stage.room(2, 5);
  const picture = stage.picture({ width: 520, height: 320, fill: true });

  // Standard normal numbers by the method of Box and Muller, from the seeded generator.
  function normals(count, random) {
    const numbers = new Float64Array(count);
    for (let i = 0; i < count; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - random()));
      const angle = 2 * Math.PI * random();
      numbers[i] = radius * Math.cos(angle);
      numbers[i + 1] = radius * Math.sin(angle);
    }
    return numbers;
  }

  // Inputs and weights depend on the seed alone, so they are drawn once for each seed.
  let drawn = { seed: -1 };
  function numbersOf(which) {
    if (drawn.seed !== which) {
      const random = stage.generator(which);
      const inputs = normals(SAMPLES * WIDTH, random);
      drawn = { seed: which, inputs, weights: normals(DEEPEST * WIDTH * WIDTH, random) };
    }
    return drawn;
  }

  const rms = (numbers) => Math.sqrt(numbers.reduce((sum, v) => sum + v * v, 0) / numbers.length);

  // The root mean square of the activations: of the inputs, then after each layer.
  function sizes() {
    const f = ACTIVATIONS[chosen.value];
    const { inputs, weights } = numbersOf(seed.value);
    const factor = Math.sqrt(gain.value / WIDTH);
    let a = inputs;
    const found = [rms(a)];
    for (let layer = 0; layer < depth.value; layer++) {
      const next = new Float64Array(a.length);
      for (let s = 0; s < SAMPLES; s++) {
        for (let j = 0; j < WIDTH; j++) {
          let z = 0;
          for (let i = 0; i < WIDTH; i++) z += a[s * WIDTH + i] * weights[(layer * WIDTH + i) * WIDTH + j];
          next[s * WIDTH + j] = f(factor * z);
        }
      }
      a = next;
      found.push(rms(a));
    }
    return found;
  }

  function draw() {
    const values = sizes();
    const last = values[values.length - 1];
    const layers = depth.value;
    picture.clear();
    const every = layers > 20 ? 10 : layers > 8 ? 5 : 1;
    const xTicks = Array.from({ length: Math.floor(layers / every) + 1 }, (_, i) => i * every);
    const axes = stage.axes(picture, {
      x: [0, layers], y: LIMITS, xTicks, yTicks: [], xLabel: "layer (0: the inputs)", yLabel: "rms of the activations", left: 64, right: 14,
    });
    for (let power = LIMITS[0]; power <= LIMITS[1]; power += 4) {
      const y = axes.y(power);
      const text = `10${[...format(power, 0)].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"["0123456789−".indexOf(c)]).join("")}`;
      picture.add("text", { x: axes.area.left - 6, y: y + 4, "text-anchor": "end", text });
      picture.add("path", { class: power === 0 ? "line faint" : "gridline", d: `M${axes.area.left} ${y}H${axes.area.right}` });
    }
    const inside = stage.clip(picture, axes.area);
    const height = (v) => axes.y(Math.max(LIMITS[0] - 1, Math.min(LIMITS[1] + 1, Math.log10(v))));
    const points = values.map((v, layer) => [axes.x(layer), height(v)]);
    const kind = last > 100 || last < 0.01 ? "orange" : "blue";
    add(inside, "path", { class: `line ${kind}`, d: stage.path(points) });
    for (const [cx, cy] of points) add(inside, "circle", { cx, cy, r: layers > 30 ? 3 : 4, class: `${kind}-area` });
    const verdict = last > 100 ? "The signal explodes." : last < 0.01 ? "The signal fades away." : "The signal arrives.";
    const perLayer = (last / values[0]) ** (1 / layers);
    const size = (v) => (v !== 0 && (v < 0.001 || v >= 1e5) ? v.toExponential(2).replaceAll("-", "−") : format(v, 3));
    stage.say(
      `${options[chosen.value]}, g² = ${format(gain.value, 1)}: rms ${size(values[0])} at the inputs, ${size(last)} after layer ${layers}, ` +
        `a factor of ${format(perLayer, 3)} per layer. ${verdict}`,
    );
    picture.label(`The rms of the activations over ${layers} layers, on a logarithmic scale, from ${size(values[0])} to ${size(last)}. ${verdict}`);
  }
  stage.draw = draw;
};
