// Controls, and drawing everything.
let latest = 0;
async function draw() {
  const turn = ++latest, first = data.runs[0], k = first.scales[state.frame] ? `, k = ${first.scales[state.frame]}` : "";
  const when = `${first.numbers[state.frame]} of ${first.total}, t = ${first.times[state.frame]}${k}`;
  document.getElementById("when").textContent = when;
  document.getElementById("step").setAttribute("aria-valuetext", when);
  await Promise.all([...views.map((view) => drawView(view, turn)), ...beside.map((view) => drawDifferences(view, turn))]);
  if (turn === latest) document.body.dataset.drawn = [state.sample, state.frame, state.row, state.column].join(",");
}

function resize(size) {
  document.documentElement.style.setProperty("--size", `${size}px`);
  document.getElementById("size").textContent = `${size} px`;
}

document.documentElement.style.setProperty("--shape", `${width} / ${height}`);
const views = data.runs.map(makeView);
const beside = data.runs.length > 1 ? makeDifferences() : [];

const buttons = data.runs[0].finals.map((address, n) => {
  const label = data.runs[0].labels[n], name = `sample ${data.runs[0].samples[n]}${label ? ` (${label})` : ""}`;
  const button = element("button", { type: "button", title: name, ariaPressed: String(n === 0) }, element("img", { src: address, alt: name }));
  button.addEventListener("click", () => {
    state.sample = n;
    buttons.forEach((other, m) => (other.ariaPressed = String(m === n)));
    draw();
  });
  return button;
});
document.getElementById("samples").append(...buttons);

const slider = document.getElementById("step");
slider.max = slider.value = state.frame;
slider.addEventListener("input", () => {
  state.frame = Number(slider.value);
  draw();
});

document.getElementById("controls").hidden = false;

// At first three images fit beside each other, or two on a small screen.
const zoom = document.getElementById("zoom"), room = document.querySelector("article > section").clientWidth;
const abreast = room > 420 ? 3 : 2;
zoom.value = Math.max(112, Math.min(272, 8 * Math.floor((room - 32) / (8 * abreast))));
zoom.addEventListener("input", () => {
  resize(zoom.value);
  draw();
});
resize(zoom.value);
window.addEventListener("resize", draw);

document.getElementById("modes").hidden = !data.runs.some((run) => run.provenance);
for (const choice of document.querySelectorAll("#modes input"))
  choice.addEventListener("change", () => {
    state.mode = choice.value;
    draw();
  });
draw();
