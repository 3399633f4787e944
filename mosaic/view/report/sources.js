// Sources of the chosen pixel: of the final image, and of the frame's posterior where that is kept.
async function sourceAt(places, index) {
  const [image, row, column, multiplicity] = await Promise.all(
    [places.image, places.row, places.column, places.multiplicity].map(unpack));
  return { image: image[index], row: row[index], column: column[index], multiplicity: multiplicity[index] };
}

async function findSources(run, frame) {
  if (!run.provenance) return null;
  const pixel = state.row * width + state.column;
  const last = run.provenance.last[state.sample], steps = run.provenance.steps[state.sample], kept = run.provenance.kept;
  const [row, column, tiles] = await Promise.all([last.row, last.column, last.tile].map(unpack));
  const sources = { pixel, last: await sourceAt(last, pixel), places: { row, column }, tiles, weights: [], entropies: [], apart: null };
  if (last.apart) sources.apart = (await unpack(last.apart))[pixel] / 65535 * run.span;
  if (!steps) return sources;  // no step shown keeps them
  const weights = await unpack(steps.weight), entropies = steps.entropy ? await unpack(steps.entropy) : null;
  sources.weights = kept.map((_, n) => weights[n * height * width + pixel] / 65535);
  if (entropies) sources.entropies = kept.map((_, n) => entropies[n * height * width + pixel] / 1000);
  const place = kept.indexOf(frame);
  if (place >= 0) {
    sources.place = place;
    sources.step = await sourceAt(steps, place * height * width + pixel);
  }
  return sources;
}

// What a training image is called, with its class.
function named(run, image) {
  const place = run.training?.places[image];
  const name = place === undefined ? `#${image}` : run.training.names[place];
  return place !== undefined && run.training.classes.length ? `${name} (class ${run.training.classes[place]})` : name;
}

const placed = (run, source) => `${named(run, source.image)}, row ${source.row}, column ${source.column}`;
const tied = (source) => (source.multiplicity > 1 ? `, the first of ${source.multiplicity.toLocaleString("en")} equal windows` : "");

// Names of what is said of a pixel of a run.
function accountNames(run) {
  const traced = run.provenance ? ["Tile", ...(run.provenance.kept.length > 1 ? ["At this step"] : [])] : [];
  return ["Pixel", "Source", ...traced, ...(run.training ? ["Whole sample"] : [])];
}

// What is said of the chosen pixel, by these names.
function account(run, frame, sources) {
  const said = { Pixel: `row ${state.row}, column ${state.column}` };
  if (!sources) said.Source = "This run keeps no provenance, so its pixels cannot be traced.";
  else {
    const { last, step, tiles, pixel } = sources;
    const apart = sources.apart === null ? "" : `; its pixel differs by ${sources.apart.toPrecision(2)} (pixels span ${run.span})`;
    const size = tiles.filter((tile) => tile === tiles[pixel]).length;
    said.Source = `${placed(run, last)}${tied(last)}${apart}`;
    said.Tile = tiles[pixel] < 0 ? "none, since its source has equals" : `${count(size, "pixel")} copied together`;
    if (run.provenance.kept.length > 1) {
      const n = sources.entropies.length && step ? `, among ${short(Math.exp(sources.entropies[sources.place]))} effective candidates` : "";
      said["At this step"] = step
        ? `best candidate ${placed(run, step)}${tied(step)}; weight ${short(sources.weights[sources.place])}${step.multiplicity > 1 ? " with its equals" : ""}${n}`
        : "candidates are not kept";
    }
  }
  if (run.training) {
    const { image, distance } = run.training.nearest[state.sample];
    said["Whole sample"] = `nearest to ${named(run, image)}, at distance ${distance.toPrecision(3)} (L2)`;
  }
  return said;
}
