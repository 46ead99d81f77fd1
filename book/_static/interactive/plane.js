// What the figures of a network in the plane share: its answers, and the plane coloured by them.
"use strict";

(() => {
  const { add, set, path } = Figures.tools;

  // How sure the network is where a colour begins, from orange (class 0) to blue (class 1).
  const LEVELS = [0.03, 0.15, 0.35, 0.5, 0.65, 0.85, 0.97];
  const COLOURS = ["orange 46", "orange 34", "orange 22", "orange 11", "blue 11", "blue 22", "blue 34", "blue 46"];

  // The network of the data after an epoch: a function of a point that returns its logit.
  function network({ sizes, unit, weights }, epoch) {
    const theta = weights[epoch];
    return (...input) => {
      let [at, a] = [0, input];
      for (let k = 1; k < sizes.length; k++) {
        const [m, n] = [sizes[k - 1], sizes[k]];
        const bias = at + m * n;
        const z = new Array(n);
        for (let j = 0; j < n; j++) {
          z[j] = theta[bias + j] / unit;
          for (let i = 0; i < m; i++) z[j] += (a[i] * theta[at + i * n + j]) / unit;
          if (k < sizes.length - 1) z[j] = Math.tanh(z[j]);
        }
        [at, a] = [bias + n, z];
      }
      return a[0];
    };
  }

  // The points of the data, those for training first.
  function points({ x, y, labels, unit }) {
    return labels.map((label, i) => ({ x: x[i] / unit, y: y[i] / unit, label }));
  }

  // The mean loss over some points, and which of them the network gets wrong.
  function judge(answer, some) {
    const logits = some.map((p) => answer(p.x, p.y));
    // log(1 + e^-m) with m > 0 where the answer is right, without overflow.
    const loss = (m) => Math.max(0, -m) + Math.log1p(Math.exp(-Math.abs(m)));
    const margins = logits.map((z, i) => (some[i].label ? z : -z));
    const wrong = some.filter((p, i) => (logits[i] > 0 ? 1 : 0) !== p.label);
    return { loss: margins.reduce((sum, m) => sum + loss(m), 0) / some.length, wrong, right: some.length - wrong.length };
  }

  // The part of a grid of values that lies above a level, as the `d` of a path in grid units: the
  // cells are cut where a straight line between two corners crosses the level.
  function above(values, columns, rows, level) {
    const d = [];
    const at = (i, j) => values[j * (columns + 1) + i];
    for (let j = 0; j < rows; j++) {
      let full = null;
      for (let i = 0; i <= columns; i++) {
        const corners = i < columns ? [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]] : [];
        const over = corners.map(([p, q]) => at(p, q) > level);
        const whole = over.length && over.every(Boolean);
        if (whole) full ??= i;
        if (!whole && full !== null) {
          d.push(`M${full} ${j}H${i}V${j + 1}H${full}Z`);
          full = null;
        }
        if (whole || !over.some(Boolean)) continue;
        const polygon = [];
        corners.forEach(([p, q], k) => {
          const [r, s] = corners[(k + 1) % 4];
          if (over[k]) polygon.push([p, q]);
          if (over[k] === over[(k + 1) % 4]) return;
          const t = (level - at(p, q)) / (at(r, s) - at(p, q));
          polygon.push([p + t * (r - p), q + t * (s - q)]);
        });
        d.push(`${path(polygon)}Z`);
      }
    }
    return d.join("");
  }

  // The plane over an area in pixels. Returns a function that colours it by the answers.
  function paint(parent, { area, x, y, cells = 56 }) {
    const [width, height] = [area.right - area.left, area.bottom - area.top];
    const [columns, rows] = [cells, Math.round((cells * height) / width)];
    const sheet = add(parent, "g", {
      transform: `translate(${area.left} ${area.bottom}) scale(${width / columns} ${-height / rows})`,
    });
    const layers = COLOURS.map((entry, k) => {
      const [name, share] = entry.split(" ");
      const colour = `color-mix(in srgb, var(--${name}) ${share}%, var(--paper))`;
      // The thin line in the colour of the layer hides the seams between the cells.
      const layer = add(sheet, "path", { style: `fill: ${colour}; stroke: ${colour}; stroke-width: 0.1` });
      if (k === 0) set(layer, { d: `M0 0H${columns}V${rows}H0Z` });
      return layer;
    });
    const values = new Float64Array((columns + 1) * (rows + 1));
    return (answer) => {
      let k = 0;
      for (let j = 0; j <= rows; j++) {
        for (let i = 0; i <= columns; i++) values[k++] = answer(x.back(area.left + (i / columns) * width), y.back(area.bottom - (j / rows) * height));
      }
      LEVELS.forEach((p, l) => set(layers[l + 1], { d: above(values, columns, rows, Math.log(p / (1 - p))) }));
    };
  }

  Figures.plane = { network, points, judge, paint };
})();
