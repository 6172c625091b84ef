// Puts the page together: what is drawn or picked goes to the server, and what comes back is shown.

import { showEnergy, showLatency, spikeSummary } from "./costs.js";
import { byId, count, element } from "./dom.js";
import { Pad, SIDE, paintGrey } from "./pad.js";
import { showAttention, showPrediction } from "./results.js";
import { Spikes } from "./spikes.js";

const PAUSE = 120; // milliseconds without a further stroke before the picture is sent

let network, spikes, pad;
let label = null; // of the test image that is shown unchanged, else null
let waiting = null; // timer before sending
let busy = false; // one request at a time; `again` when the picture changed meanwhile
let again = false;

async function start() {
  const found = await ask("/samples");
  network = found.network;
  describe();
  spikes = new Spikes(found.palette, network);
  pad = new Pad(changed);
  byId("samples").replaceChildren(...found.samples.map(thumbnail));
  pick(found.samples[0]);
  byId("samples").querySelector("input").checked = true;
}

function describe() {
  const { name, family, parameters, time_steps, levels, input } = network;
  document.title = `${name}: spikedriven demo`;
  byId("name").textContent = name;
  const steps = levels > 1 ? `${time_steps} × ${levels} steps (T × D, integer neurons)` : `${time_steps} time steps`;
  byId("about").textContent = `${family}, ${count(parameters)} parameters, ${steps}, input ${input.join(" × ")}.`;
  byId("spikes-text").textContent = levels > 1
    ? `Integer neurons put out counts from 0 to ${levels}; a count n is n binary spikes, at the first n of ${levels} binary steps.`
    : "Neurons put out 0 or 1 at every time step.";
  byId("spikes-text").append(" Colour: how many channels fire at a position; layers without positions show a square per channel. ",
    element("span", { id: "summary" }));
}

function thumbnail(sample, i) {
  const canvas = element("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  paintGrey(canvas.getContext("2d"), sample.pixels.flat());
  const name = `${network.classes[sample.label]}, test image ${sample.index}`;
  const input = element("input", { type: "radio", name: "sample", "aria-label": name });
  input.addEventListener("change", () => pick(sample));
  return element("label", { title: name }, input, canvas);
}

function pick(sample) {
  pad.show(sample.pixels);
  label = sample.label;
  send();
}

function changed() {
  label = null;
  const picked = byId("samples").querySelector("input:checked");
  if (picked) picked.checked = false;
  send();
}

function send() {
  clearTimeout(waiting);
  waiting = setTimeout(classify, PAUSE);
}

async function classify() {
  again = busy;
  if (busy) return;
  busy = true;
  const shown = label;
  byId("prediction").setAttribute("aria-busy", "true");
  try {
    const body = JSON.stringify({ pixels: pad.rows() });
    show(await ask("/classify", { method: "POST", headers: { "Content-Type": "application/json" }, body }), shown);
  } catch (error) {
    fail(error);
  }
  busy = false;
  byId("prediction").setAttribute("aria-busy", "false");
  if (again) classify();
}

function show(found, shown) {
  byId("error").hidden = true;
  showPrediction(found, network.classes, shown);
  spikes.show(found.layers);
  byId("summary").textContent = spikeSummary(found.layers);
  showAttention(found.attention);
  showEnergy(found.energy);
  showLatency(found.latency, network, found.engine_predicted === found.predicted);
}

/** JSON of the server; its message as an Error where it refuses. */
async function ask(path, options) {
  const response = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer: has it been stopped?");
  });
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

function fail(error) {
  byId("error").textContent = error.message;
  byId("error").hidden = false;
}

start().catch(fail);
