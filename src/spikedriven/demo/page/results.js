// Prediction and attention maps.

import { bar, byId, element, heat, percent, table } from "./dom.js";

/** label: of the test image that is shown, else null. */
export function showPrediction(found, classes, label) {
  const last = found.shares.at(-1);
  const best = found.predicted;
  const said = [element("strong", {}, classes[best]), `, ${percent(last[best])}`];
  byId("answer").replaceChildren(...said, ...verdict(best, classes, label));
  const steps = found.shares.length > 1 ? found.shares : [];
  const header = ["class", "share", ...steps.map((_, t) => `after step ${t + 1}`)];
  const rows = classes.map((name, i) => [
    element("th", { scope: "row", class: i === best ? "best" : null }, name),
    bar(last[i], 1, percent(last[i])),
    ...steps.map((shares) => heat(shares[i], 1, percent(shares[i]))),
  ]);
  byId("shares").replaceChildren(table(captionOf(steps.length), header, rows, "shares"));
}

function captionOf(steps) {
  const what = "Softmax share of each class";
  return steps ? `${what}; each further column: of the mean of the logits so far` : what;
}

function verdict(best, classes, label) {
  if (label === null) return [];
  const right = best === label;
  const text = right ? "✓ right, it is labelled so" : `✗ wrong, it is labelled ${classes[label]}`;
  return [" ", element("span", { class: right ? "right" : "wrong" }, text)];
}

/** Rows: block and place; columns: time steps. */
export function showAttention(maps) {
  byId("attention").hidden = !maps.length;
  if (!maps.length) return;
  const steps = maps[0].images.length;
  const rows = maps.map((one) => [
    one.name,
    ...one.images.map((source, t) => element("td", {}, mapOf(one, source, t))),
    element("td", { class: "number" }, one.largest.toFixed(3)),
  ]);
  const header = ["place", ...Array.from({ length: steps }, (_, t) => `time step ${t + 1}`), "highest rate"];
  byId("maps").replaceChildren(table("Attention maps of this picture", header, rows, "maps"));
}

function mapOf(one, source, t) {
  const alt = `${one.name}, time step ${t + 1}: mean rate ${one.means[t].toFixed(3)}`;
  return element("img", { src: source, alt, width: 84, height: 84 });
}
