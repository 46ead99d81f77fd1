// How the interactive figures draw and write: elements, scales, axes, coloured fields, numbers.
"use strict";

const Figures = {};

(() => {
  const SVG = "http://www.w3.org/2000/svg";

  // An element with attributes, appended to its parent. A `text` becomes its content.
  function add(parent, name, { text, ...attributes } = {}) {
    const inSvg = name === "svg" || parent.namespaceURI === SVG;
    const element = inSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    if (text !== undefined) element.textContent = text;
    set(element, attributes);
    parent.append(element);
    return element;
  }

  function set(element, attributes) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  }

  // A number as the text writes it: with a true minus sign, and no minus before zero.
  function format(value, digits = 2) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "not a number" : value > 0 ? "∞" : "−∞";
    const text = Math.abs(value) >= 1e5 ? value.toExponential(digits) : value.toFixed(digits);
    return /^-[0.]*$/.test(text) ? text.slice(1) : text.replaceAll("-", "−");
  }

  // From data to pixels along one axis; `.back` goes the other way.
  function scale([from, to], [start, end]) {
    const map = (value) => start + ((value - from) / (to - from)) * (end - start);
    map.back = (pixel) => from + ((pixel - start) / (end - start)) * (to - from);
    return map;
  }

  // The `d` of a path through points [[x, y], ...] in pixels.
  function path(points) {
    return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
  }

  // The same sequence of numbers in [0, 1) from the same seed (mulberry32).
  function generator(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  // Axes with a grid. Returns the two scales and the area inside, in pixels.
  function axes(picture, { x, y, xTicks, yTicks, xLabel, yLabel, left = 40, right = 8, top = 8, bottom = 36 }) {
    const area = { left, top, right: picture.width - right, bottom: picture.height - bottom };
    const sx = scale(x, [area.left, area.right]);
    const sy = scale(y, [area.bottom, area.top]);
    const back = picture.group({ class: "axes" });
    const line = (x1, y1, x2, y2) => add(back, "line", { x1, y1, x2, y2 });
    const plain = (v) => String(v).replace("-", "−");
    for (const v of xTicks) {
      line(sx(v), area.top, sx(v), area.bottom);
      add(back, "text", { x: sx(v), y: area.bottom + 15, "text-anchor": "middle", text: plain(v) });
    }
    for (const v of yTicks) {
      line(area.left, sy(v), area.right, sy(v));
      add(back, "text", { x: area.left - 6, y: sy(v) + 4, "text-anchor": "end", text: plain(v) });
    }
    const middle = (area.left + area.right) / 2;
    add(back, "text", { x: middle, y: area.bottom + 31, "text-anchor": "middle", text: xLabel ?? "" });
    const up = (area.top + area.bottom) / 2;
    add(back, "text", { x: 0, y: 0, transform: `translate(11 ${up}) rotate(-90)`, "text-anchor": "middle", text: yLabel ?? "" });
    return { x: sx, y: sy, area };
  }

  let clips = 0;

  // A part of the picture that shows nothing outside of the area of the axes.
  function clip(picture, area) {
    const id = `clip-${++clips}`;
    const frame = add(picture.svg, "clipPath", { id });
    add(frame, "rect", { x: area.left, y: area.top, width: area.right - area.left, height: area.bottom - area.top });
    return picture.group({ "clip-path": `url(#${id})` });
  }

  // A field of columns x rows cells. Returns a function that colours them: `f(u, v)` with u, v
  // in (0, 1), left to right and bottom to top, gives -1 (orange) ... 0 (clear) ... 1 (blue).
  function field(parent, area, columns, rows = columns) {
    const [wide, high] = [(area.right - area.left) / columns, (area.bottom - area.top) / rows];
    const cells = [];
    for (let j = 0; j < rows; j++) {
      for (let i = 0; i < columns; i++) {
        const at = { x: area.left + i * wide, y: area.bottom - (j + 1) * high };
        const cell = add(parent, "rect", { ...at, width: wide, height: high, class: "cell" });
        cells.push([cell, (i + 0.5) / columns, (j + 0.5) / rows]);
      }
    }
    return (f) => {
      for (const [cell, u, v] of cells) {
        const value = Math.max(-1, Math.min(1, f(u, v)));
        set(cell, { class: value < 0 ? "cell orange-area" : "cell blue-area", "fill-opacity": (0.45 * Math.abs(value)).toFixed(3) });
      }
    };
  }

  // The `d` of the line where f(x, y) is `level`: each cell of a grid is cut into two triangles, and
  // each triangle whose corners lie on both sides is crossed by one straight piece.
  function contour(f, level, { x, y, area }, cells = 60) {
    const at = (i, j) => {
      const [px, py] = [area.left + (i / cells) * (area.right - area.left), area.top + (j / cells) * (area.bottom - area.top)];
      return [px, py, f(x.back(px), y.back(py)) - level];
    };
    const cross = ([ax, ay, a], [bx, by, b]) => [ax + ((bx - ax) * a) / (a - b), ay + ((by - ay) * a) / (a - b)];
    const rows = Array.from({ length: cells + 1 }, (_, j) => Array.from({ length: cells + 1 }, (_, i) => at(i, j)));
    let d = "";
    for (let j = 0; j < cells; j++) {
      for (let i = 0; i < cells; i++) {
        const [p, q, r, s] = [rows[j][i], rows[j][i + 1], rows[j + 1][i + 1], rows[j + 1][i]];
        for (const [a, b, c] of [[p, q, r], [p, r, s]]) {
          const cut = [[a, b], [b, c], [c, a]].filter(([u, v]) => u[2] < 0 !== v[2] < 0);
          if (cut.length === 2) d += path(cut.map(([u, v]) => cross(u, v)));
        }
      }
    }
    return d;
  }

  Figures.tools = { add, set, format, scale, path, generator, axes, clip, field, contour };
})();
