// The spikes of every layer, step by step. Step 0 of the slider stands for all steps added up.

import { breakable, byId, count, element, heat, percent, table } from "./dom.js";

const PERIOD = 900; // milliseconds per step

export class Spikes {
  /** palette: colours [r, g, b] from silent to the highest. */
  constructor(palette, network) {
    this.palette = palette;
    this.network = network;
    this.cards = [];
    this.timer = null;
    byId("previous").addEventListener("click", () => this.turn(-1));
    byId("next").addEventListener("click", () => this.turn(1));
    byId("play").addEventListener("click", () => (this.timer === null ? this.play() : this.pause()));
    byId("step").addEventListener("input", () => (this.pause(), this.draw()));
    this.paint(byId("ramp"), palette.map((_, i) => i), palette.length - 1);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  /** layers: as the server describes them, in the order in which they compute. */
  show(layers) {
    this.layers = layers;
    this.steps = layers[0].rates.length;
    byId("step").max = this.steps;
    const names = layers.map((one) => one.name).join();
    if (names !== this.names) this.build(layers);
    this.names = names;
    this.cards.forEach((card, i) => card.take(layers[i]));
    byId("rates").replaceChildren(ratesTable(layers, this.steps));
    this.draw();
  }

  build(layers) {
    this.cards = layers.map((layer, i) => new Card(layer, i, this));
    const groups = new Map();
    for (const card of this.cards) {
      const name = card.name.match(/^[^.]+(\.\d+)?/)[0];
      groups.set(name, [...(groups.get(name) ?? []), card]);
    }
    byId("layers").replaceChildren(...[...groups].map(([name, cards]) => {
      const list = element("ol", { class: "group" }, ...cards.map((card) => card.item));
      return element("div", {}, element("h3", {}, name), list);
    }));
  }

  get step() {
    return Number(byId("step").value);
  }

  turn(by) {
    this.pause();
    this.go(by);
  }

  go(by) {
    byId("step").value = (this.step + by + this.steps + 1) % (this.steps + 1);
    this.draw();
  }

  play() {
    byId("play").textContent = "Pause";
    this.timer = setInterval(() => this.layers && this.go(this.step === this.steps && this.steps > 1 ? 1 - this.steps : 1), PERIOD);
  }

  pause() {
    byId("play").textContent = "Play";
    clearInterval(this.timer);
    this.timer = null;
  }

  draw() {
    if (!this.layers) return;
    const text = this.stepText(this.step);
    byId("step-text").textContent = text;
    byId("step").setAttribute("aria-valuetext", text);
    for (const card of this.cards) card.draw(this.step, text);
  }

  stepText(step) {
    const { levels } = this.network;
    if (step === 0) return levels > 1 && this.steps === levels ? "counts: all binary steps added" : `all ${this.steps} steps added`;
    if (levels === 1) return `time step ${step} of ${this.steps}`;
    const level = ((step - 1) % levels) + 1;
    const time = this.steps > levels ? `time step ${Math.ceil(step / levels)}, ` : "";
    return `${time}binary step ${level} of ${levels}: counts of ${level} or more`;
  }

  /** Values from 0 to largest, row by row, in colours. */
  paint(canvas, values, largest) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    values.forEach((value, i) => {
      const shade = largest > 0 ? Math.round((value / largest) * (this.palette.length - 1)) : 0;
      image.data.set([...this.palette[shade], 255], 4 * i);
    });
    context.putImageData(image, 0, 0);
  }
}

class Card {
  constructor(layer, order, spikes) {
    this.name = layer.name;
    this.spikes = spikes;
    this.canvas = element("canvas", { width: layer.width, height: layer.height, role: "img" });
    this.rate = element("span", { class: "rate" });
    this.bar = element("span", { class: "bar", "aria-hidden": "true" });
    const rest = layer.name.replace(/^[^.]+(\.\d+)?\.?/, "").replace(/(^|\.)neuron$|\bbranch\.?/g, "") || "neuron";
    const shape = layer.shape.join(" × ");
    this.item = element("li", {}, this.canvas, element("span", { class: "layer", title: layer.name }, breakable(rest)),
      element("span", { class: "muted" }, shape), this.rate, element("span", { class: "track" }, this.bar));
    this.canvas.style.setProperty("--ratio", layer.width / layer.height);
    this.item.style.setProperty("--order", order);
  }

  take(layer) {
    this.layer = layer;
    this.sum = layer.fired[0].map((_, i) => layer.fired.reduce((total, map) => total + map[i], 0));
    this.largest = layer.fired.reduce((most, map) => map.reduce((a, b) => Math.max(a, b), most), 0);
  }

  draw(step, text) {
    const { layer } = this;
    const [values, rate] = step === 0 ? [this.sum, layer.rate] : [layer.fired[step - 1], layer.rates[step - 1]];
    this.spikes.paint(this.canvas, values, step === 0 ? Math.max(...this.sum) : this.largest);
    const fired = Math.round(rate * layer.neurons * (step === 0 ? layer.rates.length : 1));
    this.rate.textContent = percent(rate);
    this.bar.style.setProperty("--share", percent(rate, 2).replace(" ", ""));
    this.canvas.setAttribute("aria-label", `${layer.name}, ${text}: ${count(fired)} spikes, ${percent(rate)} of its neurons`);
    this.item.classList.remove("flash");
    if (step > 0) requestAnimationFrame(() => this.item.classList.add("flash"));
  }
}

function ratesTable(layers, steps) {
  const largest = Math.max(...layers.flatMap((one) => one.rates));
  const rows = layers.map((one) => [
    one.name, ...one.rates.map((rate) => heat(rate, largest, percent(rate))), heat(one.rate, largest, percent(one.rate))]);
  const header = ["neurons", ...Array.from({ length: steps }, (_, i) => `step ${i + 1}`), "mean"];
  return table("Share of each layer's neurons that fire, per step", header, rows, "matrix");
}
