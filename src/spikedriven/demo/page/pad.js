// The drawing: 28 x 28 grey pixels, painted by mouse, finger or keys.

import { byId } from "./dom.js";

export const SIDE = 28;
const UNDOS = 50;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Pad {
  /** changed(): called after every change by the user, also within a stroke. */
  constructor(changed) {
    this.canvas = byId("pad");
    this.context = this.canvas.getContext("2d");
    this.pixels = new Uint8ClampedArray(SIDE * SIDE);
    this.undos = [];
    this.changed = changed;
    this.place = { x: SIDE / 2, y: SIDE / 2 };
    this.penDown = false;
    this.last = null; // where the pointer was, within a stroke
    this.listen();
    this.moveCursor();
  }

  listen() {
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.last && this.strokeTo(this.pixelAt(event)));
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => (this.last = null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("blur", () => (this.penDown = false));
    byId("undo").addEventListener("click", () => this.undo());
    byId("clear").addEventListener("click", () => this.clear());
  }

  /** rows: 28 lists of 28 numbers. Not a change by the user. */
  show(rows) {
    this.remember();
    this.pixels.set(rows.flat());
    this.draw();
  }

  rows() {
    return Array.from({ length: SIDE }, (_, y) => Array.from(this.pixels.subarray(y * SIDE, (y + 1) * SIDE)));
  }

  clear() {
    this.remember();
    this.pixels.fill(0);
    this.finish();
  }

  undo() {
    if (!this.undos.length) return;
    this.pixels.set(this.undos.pop());
    this.finish();
  }

  remember() {
    this.undos.push(this.pixels.slice());
    if (this.undos.length > UNDOS) this.undos.shift();
  }

  begin(event) {
    if (event.button !== 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.remember();
    this.last = this.pixelAt(event);
    this.strokeTo(this.last);
  }

  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIDE - 0.5, y: ((event.clientY - box.top) / box.height) * SIDE - 0.5 };
  }

  strokeTo(to) {
    const from = this.last;
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)));
    for (let i = 1; i <= steps; i++) {
      this.apply(from.x + ((to.x - from.x) * i) / steps, from.y + ((to.y - from.y) * i) / steps);
    }
    this.last = to;
    this.finish();
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const move = MOVES[event.key];
    if (!move && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (move) {
      this.place.x = Math.min(SIDE - 1, Math.max(0, this.place.x + move[0]));
      this.place.y = Math.min(SIDE - 1, Math.max(0, this.place.y + move[1]));
    } else if (event.key === " ") {
      this.penDown = !this.penDown;
    }
    this.moveCursor();
    if (event.key === "Enter" || this.penDown) {
      this.remember();
      this.apply(this.place.x, this.place.y);
      this.finish();
    }
  }

  moveCursor() {
    const { x, y } = this.place;
    byId("cursor").style.setProperty("--x", x);
    byId("cursor").style.setProperty("--y", y);
    byId("pen").textContent = `row ${y + 1}, column ${x + 1}, pen ${this.penDown ? "down" : "up"}`;
  }

  apply(x, y) {
    const tools = byId("tools").elements;
    if (tools.tool.value === "fill") {
      this.fill(Math.round(x), Math.round(y), Number(tools.tone.value));
    } else {
      this.dab(x, y, Number(tools.width.value) / 2, tools.tool.value === "eraser" ? null : Number(tools.tone.value));
    }
  }

  /** A disk with soft edges, as the images have them. tone: null erases. */
  dab(x, y, radius, tone) {
    for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(SIDE - 1, Math.ceil(y + radius)); row++) {
      for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(SIDE - 1, Math.ceil(x + radius)); column++) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(column - x, row - y)));
        const at = row * SIDE + column;
        const old = this.pixels[at];
        if (tone === null) this.pixels[at] = Math.min(old, 255 * (1 - cover));
        else if (cover > 0) this.pixels[at] = Math.max(Math.min(old, tone), tone * cover);
      }
    }
  }

  /** All pixels that are connected with this one and about as grey. */
  fill(x, y, tone) {
    if (x < 0 || y < 0 || x >= SIDE || y >= SIDE) return;
    const near = (at) => Math.abs(this.pixels[at] - start) <= 24;
    const start = this.pixels[y * SIDE + x];
    const seen = new Set();
    const open = [[x, y]];
    while (open.length) {
      const [column, row] = open.pop();
      const at = row * SIDE + column;
      if (column < 0 || row < 0 || column >= SIDE || row >= SIDE || seen.has(at) || !near(at)) continue;
      seen.add(at);
      for (const [dx, dy] of Object.values(MOVES)) open.push([column + dx, row + dy]);
    }
    for (const at of seen) this.pixels[at] = tone;
  }

  finish() {
    this.draw();
    this.changed();
  }

  draw() {
    paintGrey(this.context, this.pixels);
    byId("undo").disabled = !this.undos.length;
  }
}

/** Grey values, row by row, on a canvas of the same size. */
export function paintGrey(context, pixels) {
  const image = context.createImageData(SIDE, SIDE);
  pixels.forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}
