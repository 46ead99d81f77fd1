// GPipe and 1F1B side by side: the same idle time, but not the same memory.
"use strict";

Figures.pipeline = (stage) => {
  const { format } = stage;
  stage.columns(3);
  stage.room(2, 6);

  const [FORWARD, BACKWARD] = [1, 2];
  const whole = (v) => String(v);
  const stages = stage.range({ key: "stages", label: "Stages p", min: 1, max: 6, step: 1, value: 4, show: whole });
  const micro = stage.range({ key: "micro", label: "Micro-batches", min: 1, max: 12, step: 1, value: 6, show: whole });
  const time = stage.range({ key: "time", label: "Time", min: 0, max: 51, step: 1, value: 9, show: whole });
  const bound = () => {
    time.input.max = (FORWARD + BACKWARD) * (micro.value + stages.value - 1);
    time.value = Math.min(time.value, time.input.max);
    stage.redraw();
  };
  stages.input.addEventListener("input", bound);
  micro.input.addEventListener("input", bound);
  time.input.max = (FORWARD + BACKWARD) * (micro.value + stages.value - 1);

  // The passes of a stage in order, as [kind, micro-batch].
  function gpipe(s, p, m) {
    const all = Array.from({ length: m }, (_, i) => i);
    return [...all.map((i) => ["F", i]), ...all.map((i) => ["B", i])];
  }

  // First as many forward passes as there are stages behind, then one of each in turns.
  function oneForwardOneBackward(s, p, m) {
    const ahead = Math.min(p - 1 - s, m);
    const passes = Array.from({ length: ahead }, (_, i) => ["F", i]);
    for (let i = 0; i < m; i++) {
      if (ahead + i < m) passes.push(["F", ahead + i]);
      passes.push(["B", i]);
    }
    return passes;
  }

  // When each pass runs: in order, and as soon as what it needs from its neighbour is there.
  function simulate(schedule, p, m) {
    const plan = Array.from({ length: p }, (_, s) => schedule(s, p, m));
    const end = new Map();
    const free = plan.map(() => 0);
    const done = plan.map(() => []);
    for (let moved = true; moved; ) {
      moved = false;
      plan.forEach((passes, s) => {
        while (done[s].length < passes.length) {
          const [kind, i] = passes[done[s].length];
          const from = kind === "F" ? s - 1 : s + 1;
          const first = from < 0 || from === p;
          if (!first && !end.has(`${from}${kind}${i}`)) return;
          const start = Math.max(free[s], first ? 0 : end.get(`${from}${kind}${i}`));
          free[s] = start + (kind === "F" ? FORWARD : BACKWARD);
          end.set(`${s}${kind}${i}`, free[s]);
          done[s].push({ kind, i, start, end: free[s] });
          moved = true;
        }
      });
    }
    return done;
  }

  // Micro-batches whose activations a stage keeps at a time: forward begun, backward not ended.
  const count = (passes, kind, before) => passes.filter((a) => a.kind === kind && before(a)).length;
  const kept = (passes, t) => count(passes, "F", (a) => a.start < t) - count(passes, "B", (a) => a.end <= t);
  const most = (passes) => Math.max(...passes.map((a) => kept(passes, a.start + FORWARD / 2)));

  stage.player({
    advance: () => {
      time.value += 1;
      return time.value < Number(time.input.max);
    },
    restart: () => {
      time.value = 0;
    },
    every: 300,
  });

  const HEIGHT = 190;
  const views = {
    GPipe: { schedule: gpipe, picture: stage.picture({ width: 640, height: HEIGHT, fill: true, title: "GPipe: all forward, then all backward" }) },
    "1F1B": { schedule: oneForwardOneBackward, picture: stage.picture({ width: 640, height: HEIGHT, fill: true, title: "1F1B: one forward, one backward" }) },
  };

  function drawTimeline(picture, runs, length, t) {
    picture.clear();
    const p = runs.length;
    const [left, top, right] = [58, 20, picture.width - 64];
    const height = Math.min(32, 138 / p);
    const bottom = top + p * height;
    const x = stage.scale([0, length], [left, right]);
    picture.add("text", { x: right + 8, y: 13, class: "small", text: "keeps" });
    runs.forEach((passes, s) => {
      const y = top + s * height;
      picture.add("text", { x: left - 6, y: y + height / 2 + 4, "text-anchor": "end", text: `stage ${s}` });
      picture.add("rect", { x: left, y: y + 1, width: right - left, height: height - 2, style: "fill: var(--grid)", "fill-opacity": 0.55 });
      for (const { kind, i, start, end } of passes) {
        const width = x(end) - x(start);
        const area = kind === "F" ? "blue-area" : "orange-area";
        const begun = start < t ? 1 : 0.35;
        picture.add("rect", { x: x(start) + 0.5, y: y + 1, width: width - 1, height: height - 2, class: area, "fill-opacity": begun });
        if (width < 16) continue;
        const ink = start < t ? "small paper-area" : "small";
        picture.add("text", { x: x((start + end) / 2), y: y + height / 2 + 4, "text-anchor": "middle", class: ink, text: i });
      }
      picture.add("text", { x: right + 8, y: y + height / 2 + 4, class: "strong", text: `${kept(passes, t)}` });
      picture.add("text", { x: right + 26, y: y + height / 2 + 4, class: "small", text: `≤ ${most(passes)}` });
    });
    picture.add("path", { class: "line", d: `M${x(t)} ${top - 6}V${bottom + 6}` });
    for (const v of [0, length]) {
      picture.add("text", { x: x(v), y: bottom + 20, "text-anchor": v ? "end" : "start", class: "small", text: v ? `time ${v}` : "0" });
    }
  }

  stage.draw = () => {
    const [p, m, t] = [stages.value, micro.value, time.value];
    const length = (FORWARD + BACKWARD) * (m + p - 1);
    const bubble = (p - 1) / (m + p - 1);
    const memory = {};
    for (const [name, { schedule, picture }] of Object.entries(views)) {
      const runs = simulate(schedule, p, m);
      drawTimeline(picture, runs, length, t);
      memory[name] = { now: kept(runs[0], t), most: most(runs[0]) };
      const peaks = runs.map((passes, s) => `stage ${s} ${most(passes)}`).join(", ");
      picture.label(`Timeline of ${name}, ${p} stages and ${m} micro-batches, ${length} units long, at time ${t}. Most micro-batches kept: ${peaks}.`);
    }
    const tell = (key) => `GPipe ${memory.GPipe[key]}, 1F1B ${memory["1F1B"][key]}`;
    stage.say(`${p} ${p > 1 ? "stages" : "stage"}, ${m} ${m > 1 ? "micro-batches" : "micro-batch"}: both end at ${length} and are idle for ${p - 1} / ${m + p - 1} = ${format(100 * bubble, 1)} % of the time. Stage 0 keeps at most: ${tell("most")}; at time ${t}: ${tell("now")}.`);
  };
};
