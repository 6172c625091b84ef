// Elements and figures as plain calls. Text is always set as text, so that no name can become markup.

export const byId = (id) => document.getElementById(id);

/** element("td", {class: "number"}, "4.2", child...): attributes that are null or false are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A captioned table in its own scroller; the first cell of a row is its header; cells are text or elements. */
export function table(caption, header, rows, kind = "") {
  const kindOf = (i) => (rows[0][i]?.className?.includes("number") && !rows[0][i].querySelector(".bars") ? "number" : null);
  const head = element("tr", {}, ...header.map((text, i) => element("th", { scope: "col", class: kindOf(i) }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell, i) => asCell(cell, i))));
  const made = element("table", { class: kind || null },
    element("caption", {}, element("span", {}, caption)), element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", role: "group", "aria-label": caption, tabindex: 0 }, made);
}

function asCell(cell, column) {
  if (cell instanceof HTMLTableCellElement) return cell;
  return column === 0 ? element("th", { scope: "row" }, breakable(cell)) : element("td", {}, cell);
}

/** A qualified name that may break after its dots. */
export function breakable(name) {
  if (typeof name !== "string") return name;
  const made = element("span");
  name.split(/(?<=[._])/).forEach((part, i) => made.append(...(i ? [element("wbr"), part] : [part])));
  return made;
}

export const number = (text) => element("td", { class: "number" }, text);

/** A figure on a background as strong as its share of the largest; at most half, so that text stays readable. */
export function heat(value, largest, text) {
  const cell = element("td", { class: "heat number" }, text);
  cell.style.setProperty("--share", `${largest > 0 ? (50 * value) / largest : 0}%`);
  return cell;
}

/** A figure, then a bar as long as its share of the largest. */
export function bar(value, largest, text) {
  const stroke = element("span", { class: "bar", "aria-hidden": "true" });
  stroke.style.setProperty("--share", `${largest > 0 ? (100 * value) / largest : 0}%`);
  return element("td", { class: "number" }, element("span", { class: "bars" }, element("span", {}, text), stroke));
}

const short = new Intl.NumberFormat("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const figure = (value) => short.format(value);
export const count = (value) => whole.format(value);
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
