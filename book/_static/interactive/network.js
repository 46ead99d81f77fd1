// A small network in plain numbers: loss, gradient and training, right and with a bug, and the check.
//
// The bugs are specimens of the chapter on the bug museum. Without one, all of it is what mlp, SGD
// and gradcheck.check of the package compute; the tests compare them, with each bug, number by number.
"use strict";

(() => {
  const SIZES = [2, 8, 8, 2];
  const LAYERS = SIZES.length - 1;
  const STEP = 1e-5; // of the differences
  const LIMIT = 1e-7; // of the relative error, in float64
  const FLOOR = 0.01; // an array is compared with at least so much of the longest one

  // Where the arrays lie in theta: W0 b0 W1 b1 ..., each W row by row, (fan_in, fan_out).
  const ARRAYS = [];
  for (let layer = 0, at = 0; layer < LAYERS; layer++) {
    const [m, n] = [SIZES[layer], SIZES[layer + 1]];
    ARRAYS.push({ name: `W${layer + 1}`, from: at, to: at + m * n }, { name: `b${layer + 1}`, from: at + m * n, to: at + m * n + n });
    at += m * n + n;
  }
  const PARAMETERS = ARRAYS.at(-1).to;
  const biases = ARRAYS.filter(({ name }) => name.startsWith("b"));

  // Random weights of size sqrt(2 / fan_in), biases zero; `random` gives numbers in [0, 1).
  function start(random, bug) {
    const theta = new Float64Array(PARAMETERS);
    if (bug === "zero") return theta;
    for (let layer = 0; layer < LAYERS; layer++) {
      const { from, to } = ARRAYS[2 * layer];
      for (let i = from; i < to; i++) theta[i] = normal(random) * Math.sqrt(2 / SIZES[layer]);
    }
    return theta;
  }

  // A number from the normal distribution (Box and Muller).
  function normal(random) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return radius * Math.cos(2 * Math.PI * random());
  }

  // The outputs of all layers for one row: the row itself, tanh after each hidden layer, the logits.
  function forward(theta, row) {
    const outputs = [row];
    for (let layer = 0; layer < LAYERS; layer++) {
      const [m, n, a] = [SIZES[layer], SIZES[layer + 1], outputs[layer]];
      const [W, b] = [ARRAYS[2 * layer].from, ARRAYS[2 * layer + 1].from];
      const z = new Float64Array(n);
      for (let j = 0; j < n; j++) {
        for (let i = 0; i < m; i++) z[j] += a[i] * theta[W + i * n + j];
        z[j] += theta[b + j];
        if (layer < LAYERS - 1) z[j] = Math.tanh(z[j]);
      }
      outputs.push(z);
    }
    return outputs;
  }

  // log softmax of the two logits; the larger one is subtracted, so that nothing overflows.
  function logProbabilities([z0, z1]) {
    const largest = Math.max(z0, z1);
    const log = largest + Math.log(Math.exp(z0 - largest) + Math.exp(z1 - largest));
    return [z0 - log, z1 - log];
  }

  // How much more class 1 is believed than class 0, as a function of a point: positive is class 1.
  function answer(theta) {
    return (...point) => {
      const [z0, z1] = forward(theta, point)[LAYERS];
      return z1 - z0;
    };
  }

  function loss(theta, x, y, bug) {
    let total = 0;
    for (let r = 0; r < x.length; r++) total -= logProbabilities(forward(theta, x[r])[LAYERS])[y[r]];
    return bug === "sum" ? total : total / x.length;
  }

  // What one row adds to the gradient: from the logits back to the first weights.
  function addRow(gradient, theta, row, label, bug) {
    const outputs = forward(theta, row);
    let dz = logProbabilities(outputs[LAYERS]).map((log, k) => Math.exp(log) - (k === label ? 1 : 0));
    // Softmax entry by entry: what the right class does to the other logit is forgotten.
    if (bug === "softmax") dz[1 - label] = 0;
    if (bug === "outputs") dz = dz.map((d) => d * SIZES[LAYERS]);
    for (let layer = LAYERS - 1; layer >= 0; layer--) {
      const [m, n, a] = [SIZES[layer], SIZES[layer + 1], outputs[layer]];
      const [W, b] = [ARRAYS[2 * layer].from, ARRAYS[2 * layer + 1].from];
      const below = new Float64Array(m);
      for (let j = 0; j < n; j++) gradient[b + j] += dz[j];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          gradient[W + i * n + j] += a[i] * dz[j];
          below[i] += dz[j] * theta[W + i * n + j];
        }
        // The chain rule at the activation: tanh' = 1 - a². This is what "slope" leaves out.
        if (bug !== "slope") below[i] *= 1 - a[i] * a[i];
      }
      dz = below;
    }
  }

  function lossAndGradient(theta, x, y, bug) {
    const gradient = new Float64Array(PARAMETERS);
    for (let r = 0; r < x.length; r++) addRow(gradient, theta, x[r], y[r], bug);
    const rows = bug === "sum" ? 1 : x.length;
    for (let i = 0; i < PARAMETERS; i++) gradient[i] /= rows;
    if (bug === "bias") {
      for (const { from, to } of biases) gradient.fill(gradient.subarray(from, to).reduce((a, b) => a + b), from, to);
    }
    return { loss: loss(theta, x, y, bug), gradient };
  }

  // One step of SGD with momentum: the velocity keeps a share of itself and gains the gradient.
  function step(theta, state, gradient, { rate, momentum, bug }) {
    if (bug === "kept") gradient.forEach((g, i) => (state.kept[i] += g));
    const used = bug === "kept" ? state.kept : gradient;
    for (let i = 0; i < PARAMETERS; i++) {
      state.velocity[i] = momentum * state.velocity[i] + used[i];
      theta[i] -= rate * state.velocity[i];
    }
  }

  const newState = () => ({ velocity: new Float64Array(PARAMETERS), kept: new Float64Array(PARAMETERS) });

  // Trains theta in place, batch by batch; a batch is a pair of lists, the rows of x and those of y.
  function train(theta, state, x, y, batches, options) {
    for (const [rows, labels] of batches) {
      const { gradient } = lossAndGradient(theta, rows.map((r) => x[r]), labels.map((r) => y[r]), options.bug);
      step(theta, state, gradient, options);
    }
  }

  // The batches of one epoch, in an order drawn by `random`. Shuffled apart, the labels have another.
  function batches(count, size, random, bug) {
    const rows = shuffled(count, random);
    const labels = bug === "apart" ? shuffled(count, random) : rows;
    const cut = [];
    for (let at = 0; at < count; at += size) cut.push([rows.slice(at, at + size), labels.slice(at, at + size)]);
    return cut;
  }

  function shuffled(count, random) {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  const length = (v) => Math.sqrt(v.reduce((sum, u) => sum + u * u, 0));

  // Central differences of the program's own loss, one parameter at a time.
  function differences(theta, x, y, bug, h) {
    const moved = theta.slice();
    return moved.map((here, i) => {
      moved[i] = here + h;
      const over = loss(moved, x, y, bug);
      moved[i] = here - h;
      const under = loss(moved, x, y, bug);
      moved[i] = here;
      return (over - under) / (2 * h);
    });
  }

  // The gradient against the differences, array by array: the error, and whether it is small enough.
  //
  // Where weights have grown huge, the differences are wrong themselves: by rounding, and because
  // twice the step gives others. An error must be ten times that doubt to count; else nobody knows (null).
  function check(theta, x, y, bug) {
    const { gradient } = lossAndGradient(theta, x, y, bug);
    const [numerical, wider] = [differences(theta, x, y, bug, STEP), differences(theta, x, y, bug, 2 * STEP)];
    const rounding = (Number.EPSILON * (1 + Math.abs(loss(theta, x, y, bug)))) / STEP;
    const longest = Math.max(...ARRAYS.map(({ from, to }) => length(numerical.subarray(from, to))));
    return ARRAYS.map(({ name, from, to }) => {
      const [ours, theirs, others] = [gradient, numerical, wider].map((v) => v.subarray(from, to));
      const scale = Math.max(length(ours), length(theirs), FLOOR * longest, Number.MIN_VALUE);
      const [error, doubt] = [ours, others].map((v) => length(v.map((g, i) => g - theirs[i])) / scale);
      const passes = error < LIMIT ? true : error > 10 * Math.max(doubt, rounding / scale) ? false : null;
      return { name, error, passes };
    });
  }

  Figures.network = { SIZES, ARRAYS, start, normal, answer, loss, lossAndGradient, newState, train, batches, check };
})();
