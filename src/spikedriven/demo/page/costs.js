// Energy under the named conventions, and latency.

import { bar, byId, count, element, figure, number, percent, table } from "./dom.js";

const MICRO = 1000; // from millijoule

export function showEnergy(energy) {
  const first = energy.conventions[0];
  const { mac_pj, ac_pj } = energy.prices.fp32;
  const largest = Math.max(...energy.conventions.map((one) => one.mj.fp32), energy.equal_ann_mj.fp32);
  const rows = energy.conventions.map((one) => conventionRow(one.name, one.mj, largest, count(one.macs), count(one.acs)));
  rows.push(conventionRow("equal ANN", energy.equal_ann_mj, largest, count(energy.equal_ann_mj.fp32 * 1e9 / mac_pj), "0"));
  byId("costs").replaceChildren(
    element("p", { class: "headline" }, element("strong", {}, `${figure(first.mj.fp32 * MICRO)} µJ`),
      ` convention ${first.name}, fp32 prices`),
    element("p", {}, `${mac_pj} pJ × ${count(first.macs)} MACs + ${ac_pj} pJ × ${count(first.acs)} ACs, all time steps. `
      + "Arithmetic only: no memory traffic, no leakage. Equal ANN: the same shapes, dense, one pass."),
    table("Energy of this picture under each convention", ["convention", "µJ, fp32", "µJ, int8", "MACs", "ACs"], rows),
    rules(energy), layers(energy.layers),
  );
}

function conventionRow(name, mj, largest, macs, acs) {
  const fp32 = bar(mj.fp32, largest, figure(mj.fp32 * MICRO));
  return [name, fp32, number(figure(mj.int8 * MICRO)), number(macs), number(acs)];
}

function rules(energy) {
  const terms = energy.conventions.flatMap((one) => [
    element("dt", {}, one.name), element("dd", {}, `${one.formula}. Source: ${one.source}.`)]);
  const prices = Object.entries(energy.prices).flatMap(([name, price]) => [
    element("dt", {}, `prices, ${name}`),
    element("dd", {}, `E_MAC ${price.mac_pj} pJ, E_AC ${price.ac_pj} pJ. Source: ${price.source}.`)]);
  return details("What each convention counts", element("dl", { class: "rules" }, ...terms, ...prices));
}

function layers(found) {
  const largest = Math.max(...found.map((one) => one.picojoule));
  const rows = found.map((one) => [
    one.name, bar(one.picojoule, largest, figure(one.picojoule / 1000)),
    number(one.rate === null ? "real" : one.rate.toFixed(4)), one.formula]);
  const header = ["layer", "nJ", "spikes read, per input and time step", "formula"];
  return details("Layer by layer", table("Energy per layer, convention sdt, fp32", header, rows));
}

const details = (summary, content) => element("details", {}, element("summary", {}, summary), content);

export function showLatency(latency, network, sameClass) {
  const { engine, eager, runs, threads } = latency;
  const largest = Math.max(engine.median, eager.median);
  const row = (name, times, using) => [
    `${name}, ${using} ${using === 1 ? "thread" : "threads"}`, bar(times.median, largest, times.median.toFixed(2)),
    number(`${times.q1.toFixed(2)} to ${times.q3.toFixed(2)}`)];
  const times = eager.median / engine.median;
  byId("times").replaceChildren(
    element("p", { class: "headline" }, element("strong", {}, `${engine.median.toFixed(2)} ms`),
      ` in the program of spikedriven.compile, ${figure(times)} times as fast as PyTorch`),
    element("p", {}, `Computed by the ${network.engine}. One picture, median of ${runs} runs of each, in turns, on this `
      + `machine as busy as it is now. ${sameClass ? "The program names the same class." : "The program names another class."}`),
    table("Milliseconds for one picture", ["what runs", "median", "quartiles"],
      [row("spikedriven.compile", engine, threads.engine), row("PyTorch, eager, fp32", eager, threads.eager)]),
  );
}

/** A sentence on all layers together. */
export function spikeSummary(layers) {
  const possible = layers.reduce((sum, one) => sum + one.neurons * one.rates.length, 0);
  const fired = layers.reduce((sum, one) => sum + one.neurons * one.rates.reduce((a, b) => a + b, 0), 0);
  return `This picture causes ${count(fired)} spikes in ${layers.length} layers, ${percent(fired / possible)} of what is possible.`;
}
