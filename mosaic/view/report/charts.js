// Small charts of something along the steps of a run, from noise to image, with the chosen step marked.
const CHART = { width: 320, height: 164, left: 32, right: 52, top: 22, bottom: 38 };

function svg(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function makeChart(label) {
  return svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": label });
}

// At most `most` of some ticks, the first and the last among them.
function thinned(ticks, most) {
  const every = Math.ceil((ticks.length - 1) / (most - 1)) || 1;
  return ticks.filter((_, n) => n === ticks.length - 1 || (n % every === 0 && ticks.length - 1 - n >= every / 2));
}

// Those of some rising ticks that are at least `gap` of the height below the next one.
function apart(ticks, gap) {
  return ticks.reduceRight((kept, tick) => (kept.length && kept[0].share - tick.share < gap ? kept : [tick, ...kept]), []);
}

// `series`: { steps, shares, colour } with shares of the height; ticks: { share, text }; `note` stands at the chosen step.
function drawChart(chart, total, chosen, series, ticks, rightTicks, note) {
  const { left, right, top, bottom } = CHART, w = CHART.width - left - right, h = CHART.height - top - bottom;
  const x = (step) => left + (total > 1 ? (step - 1) / (total - 1) : 0.5) * w, y = (share) => top + (1 - share) * h;
  const parts = [svg("rect", { x: left, y: top, width: w, height: h, fill: "none", stroke: GREY })];
  for (const { share, text } of ticks) {
    parts.push(svg("line", { x1: left - 4, x2: left, y1: y(share), y2: y(share), stroke: GREY }));
    parts.push(svg("text", { x: left - 8, y: y(share) + 4.5, "text-anchor": "end" }, text));
  }
  for (const { share, text } of rightTicks)
    parts.push(svg("text", { x: left + w + 6, y: y(share) + 4.5 }, text));
  for (const step of total > 1 ? [1, total] : [1])
    parts.push(svg("text", { x: x(step), y: top + h + 16, "text-anchor": "middle" }, String(step)));
  parts.push(svg("text", { x: left + w / 2, y: CHART.height - 6, "text-anchor": "middle" }, "step, from noise to image"));
  parts.push(svg("line", { class: "chosen", x1: x(chosen), x2: x(chosen), y1: top, y2: top + h, stroke: "#1a1a1a", "stroke-dasharray": "4 3" }));
  const side = x(chosen) > left + w / 2 ? "end" : "start";
  parts.push(svg("text", { x: x(chosen), y: top - 7, "text-anchor": side }, note));
  for (const { steps, shares, colour } of series) {
    const points = steps.map((step, n) => `${x(step)},${y(shares[n])}`);
    parts.push(svg("polyline", { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 2 }));
    if (steps.length <= 60)
      steps.forEach((step, n) => parts.push(svg("circle", { cx: x(step), cy: y(shares[n]), r: 3, fill: colour })));
  }
  chart.replaceChildren(...parts);
}

// The locality scale k along the steps.
function drawScales(chart, run, frame) {
  const { numbers, scales } = run.course, most = Math.max(...scales);
  const text = (k) => String(k < 10 ? Number(k.toFixed(1)) : Math.round(k));  // of a soft window any number
  const ticks = apart(thinned([...new Set(scales)].sort((a, b) => a - b), 5).map((k) => ({ share: k / most, text: text(k) })), 0.1);
  const shares = scales.map((k) => k / most);
  drawChart(chart, run.total, run.numbers[frame], [{ steps: numbers, shares, colour: BLUE }], ticks, [], `k = ${run.scales[frame]}`);
}

const compact = (value) => (value < 1000 ? short(value) : value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 2 }));

// Weight of the best candidate of the chosen pixel, and n_eff on a logarithmic scale.
function drawWeights(chart, run, frame, sources) {
  const steps = run.provenance.kept.map((n) => run.numbers[n]), ends = [{ share: 0, text: "0" }, { share: 1, text: "1" }];
  const series = [{ steps, shares: sources.weights, colour: BLUE }], right = [];
  if (sources.entropies.length) {
    const top = Math.max(1, ...sources.entropies);
    series.push({ steps, shares: sources.entropies.map((entropy) => entropy / top), colour: MARK });
    right.push({ share: 0, text: "1" }, { share: 1, text: compact(Math.exp(top)) });
  }
  const place = run.provenance.kept.indexOf(frame);
  drawChart(chart, run.total, run.numbers[frame], series, ends, right, place < 0 ? "" : `weight ${short(sources.weights[place])}`);
}
