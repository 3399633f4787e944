// Runs side by side: the settings that differ, and the differences of final images from the first run's.
function makeDifferences() {
  const first = data.runs[0], holder = document.getElementById("beside"), { metric, runs } = data.differences;
  holder.hidden = false;
  const settings = data.settings.length
    ? element("div", { className: "scroll" }, table("Settings that differ", ["setting", ...data.runs.map((run) => run.name)],
      data.settings.map(([name, values]) => [name, ...values])))
    : element("p", { textContent: "No setting differs." });
  holder.append(element("h2", { textContent: `Differences from ${first.name}` }), settings);
  return runs.map((compared, n) => {
    const run = data.runs[n + 1], part = element("div", { className: "compared" });
    holder.append(part);
    part.append(element("h3", { textContent: `${run.name} minus ${first.name}` }));
    const view = { run, compared, levels: data.differences.levels[n + 1], scatter: makeFigure(`${run.name} against ${first.name}, pixel by pixel`, false) };
    const figures = element("div", { className: "views" });
    if (compared.reason) part.append(element("p", { className: "reason", textContent: `Image by image there is nothing to compare. ${compared.reason}` }));
    else {
      view.finals = [first, run].map((shown) => ({ run: shown, ...makeFigure(`${shown.name}: final image; arrow keys choose a pixel`, true) }));
      view.difference = makeFigure(`${run.name} minus ${first.name}; arrow keys choose a pixel`, true);
      const range = short(compared.range), ends = [`\u2212${range}`, "0", `+${range}`].map((text) => element("span", { textContent: text }));
      view.difference.canvas.after(element("div", { className: "colours" }, element("i"), ...ends));
      view.heads = ["sample", metric, "mean |difference|", "largest |difference|"];
      view.values = element("div", { className: "scroll" }, table("", view.heads, [Array(4).fill("\u00a0")]));
      figures.append(...view.finals.map(({ figure }) => figure), view.difference.figure);
      part.append(view.values);
    }
    figures.append(view.scatter.figure);
    part.append(figures);
    return view;
  });
}

function drawScatter(canvas, across, along) {
  const ratio = window.devicePixelRatio || 1, w = Math.max(1, Math.round(canvas.clientWidth * ratio)), h = Math.max(1, Math.round(canvas.clientHeight * ratio));
  Object.assign(canvas, { width: w, height: h });
  const pen = canvas.getContext("2d"), dot = 4 * ratio;
  pen.strokeStyle = GREY;
  pen.beginPath();
  pen.moveTo(0, h);
  pen.lineTo(w, 0);
  pen.stroke();
  pen.fillStyle = BLUE + "80";
  across.forEach((value, place) => pen.fillRect(value / 65535 * (w - dot), (1 - along[place] / 65535) * (h - dot), dot, dot));
}

async function drawDifferences(view, turn) {
  const first = data.runs[0], { run, compared } = view, { sample } = state;
  const [across, along, parts] = await Promise.all(
    [data.differences.levels[0][sample], view.levels[sample], compared.images?.[sample]].map((packed) => packed && unpack(packed)));
  const images = await Promise.all([first, run].map((shown) => picture(shown.finals[sample])));
  if (turn !== latest) return;
  drawScatter(view.scatter.canvas, across, along);
  say(view.scatter, `final pixels: ${run.name} (up) against ${first.name} (right)`);
  if (compared.reason) return;
  view.finals.forEach((final, n) => {
    markWindow(drawCrop(final.canvas, images[n], 0, 0), state.row, state.column, 0, false);
    say(final, final.run.name);
  });
  markWindow(drawDifference(view.difference.canvas, parts), state.row, state.column, 0, false);
  const here = parts[state.row * width + state.column] / 32767 * compared.range, several = channels > 1 ? ", of the channel that differs most" : "";
  say(view.difference, `at row ${state.row}, column ${state.column}: ${here >= 0 ? "+" : "\u2212"}${Math.abs(here).toPrecision(3)}${several} (pixels span ${run.span})`);
  const agreement = compared.agreement[sample];
  view.values.replaceChildren(table("", view.heads, [[String(run.samples[sample]), agreement === null ? "undefined" : agreement.toFixed(3),
    compared.mean[sample].toPrecision(3), compared.largest[sample].toPrecision(3)]]));
}
