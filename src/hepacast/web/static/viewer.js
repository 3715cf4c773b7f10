// Slices of an image with the outlines of its mask on a plain 2D canvas: no WebGL.

import { el, t } from "./lib.js";

const BLOCK = 16; // slices of one request

/** Gray value of a stored value through a window (width, center), as numbers from 0 to 255. */
export function gray(stored, facts, [width, center]) {
  const value = stored * facts.slope + facts.intercept;
  return Math.max(0, Math.min(255, Math.floor(((value - (center - width / 2)) / width) * 256)));
}

/** Gray values of every 16-bit number, so that a slice is a look-up. */
function lookUp(facts, window) {
  const table = new Uint8ClampedArray(65536);
  for (let i = 0; i < 65536; i += 1) table[i] = gray(i < 32768 ? i : i - 65536, facts, window);
  return table;
}

const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));

export class Viewer {
  constructor(base, facts) {
    Object.assign(this, { base, facts, slice: facts.first, overlay: true, fill: 0.25, zoom: 1, ruler: null, measuring: false });
    [this.depth, this.height, this.width] = facts.shape;
    this.blocks = { image: new Map(), mask: new Map() };
    this.colors = new Map(facts.labels.map((item) => [item.value, rgb(item.color)]));
    this.setWindow(Object.keys(facts.windows)[0]);
    this.canvas = el("canvas", { width: this.width, height: this.height, tabindex: "0", role: "img" });
    this.pixels = this.canvas.getContext("2d").createImageData(this.width, this.height);
    this.line = el("svg", { class: "ruler", viewBox: `0 0 ${this.width} ${this.height}`, "aria-hidden": "true" });
    this.stage = el("div", { class: "stage-image" }, this.canvas, this.line);
    this.onchange = () => {};
    this.gone = new AbortController();
    this.listen();
  }

  setWindow(name, window = null) {
    this.windowName = name;
    this.window = window || [...this.facts.windows[name]];
    this.table = lookUp(this.facts, this.window);
  }

  /** The block of slices that holds slice k; asked for once. */
  block(what, k) {
    const first = Math.floor(k / BLOCK) * BLOCK;
    if (!this.blocks[what].has(first)) {
      const asked = fetch(`${this.base}/${what}/${first}/${BLOCK}`, { signal: this.gone.signal }).then(async (response) => {
        if (!response.ok) throw new Error((await response.json()).message);
        const bytes = await response.arrayBuffer();
        const found = what === "image" ? new Int16Array(bytes) : new Uint8Array(bytes);
        this.blocks[what].set(first, found);
        return found;
      });
      this.blocks[what].set(first, asked);
    }
    return this.blocks[what].get(first);
  }

  /** The first slice, then all others, the nearest first. */
  async open() {
    await this.show(this.slice);
    this.rest = (async () => {
      const firsts = [...Array(Math.ceil(this.depth / BLOCK)).keys()].map((i) => i * BLOCK);
      firsts.sort((a, b) => Math.abs(a - this.facts.first) - Math.abs(b - this.facts.first));
      for (const first of firsts) await Promise.all([this.block("image", first), this.block("mask", first)]);
      this.complete = true;
      this.onchange();
    })();
    this.rest.catch(() => {});
  }

  async show(k) {
    this.slice = Math.max(0, Math.min(this.depth - 1, k));
    const wanted = this.slice;
    const [image, mask] = [this.block("image", wanted), this.block("mask", wanted)];
    if (image instanceof Promise || mask instanceof Promise) {
      await Promise.all([image, mask]);
      if (this.slice !== wanted) return;
    }
    this.draw();
  }

  draw() {
    const began = performance.now();
    const k = this.slice % BLOCK;
    const size = this.width * this.height;
    const [image, mask] = [this.block("image", this.slice), this.block("mask", this.slice)];
    if (image instanceof Promise || mask instanceof Promise) { this.show(this.slice); return; }
    const values = image.subarray(k * size, (k + 1) * size);
    const labels = mask.subarray(k * size, (k + 1) * size);
    const out = new Uint32Array(this.pixels.data.buffer);
    const { table, width } = this;
    for (let i = 0; i < size; i += 1) out[i] = 0xff000000 | (table[values[i] & 0xffff] * 0x010101);
    if (this.overlay) this.paint(labels, this.pixels.data, width);
    this.canvas.getContext("2d").putImageData(this.pixels, 0, 0);
    this.lasted = performance.now() - began;
    this.canvas.setAttribute("aria-label", t("masks.canvas", { k: this.slice + 1, n: this.depth }));
    this.onchange();
  }

  /** Outlines in full, what is inside of them as a tint. */
  paint(labels, data, width) {
    const size = labels.length;
    for (let i = 0; i < size; i += 1) {
      const label = labels[i];
      if (!label) continue;
      const color = this.colors.get(label) || [255, 0, 255];
      const edge = labels[i - 1] !== label || labels[i + 1] !== label || labels[i - width] !== label || labels[i + width] !== label;
      const share = edge ? 1 : this.fill;
      for (let c = 0; c < 3; c += 1) data[4 * i + c] += (color[c] - data[4 * i + c]) * share;
    }
  }

  /** Fit the frame, times the zoom; a voxel is as long as it is wide in mm. */
  resize() {
    const [dx, dy] = this.facts.spacing;
    const frame = this.stage.parentElement;
    const scale = Math.min((frame.clientWidth - 2) / (this.width * dx), (frame.clientHeight - 2) / (this.height * dy)) * this.zoom;
    this.stage.style.width = `${this.width * dx * scale}px`;
    this.stage.style.height = `${this.height * dy * scale}px`;
  }

  /** Voxel (i, j) under the pointer. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height];
  }

  /** Length of the ruler in mm. */
  get length() {
    if (!this.ruler) return null;
    const [[a, b], [c, d]] = this.ruler;
    const [dx, dy] = this.facts.spacing;
    return Math.hypot((c - a) * dx, (d - b) * dy);
  }

  drawRuler() {
    this.line.replaceChildren();
    if (!this.ruler) return;
    const [[a, b], [c, d]] = this.ruler;
    const unit = this.width / 512;
    this.line.append(el("line", { x1: a, y1: b, x2: c, y2: d, "stroke-width": 1.5 * unit }));
    for (const [x, y] of this.ruler) this.line.append(el("circle", { cx: x, cy: y, r: 3 * unit }));
    this.line.append(el("text", { x: (a + c) / 2 + 6 * unit, y: (b + d) / 2 - 6 * unit, "font-size": 14 * unit }, `${this.length.toFixed(1)} mm`));
    this.onchange();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.show(this.slice + (event.deltaY > 0 ? 1 : -1)); }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drag = { x: event.clientX, y: event.clientY, window: [...this.window], button: event.button };
      if (this.measuring && event.button === 0) { this.ruler = [this.at(event), this.at(event)]; this.drawRuler(); }
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.drag) return;
      if (this.measuring && this.drag.button === 0) { this.ruler[1] = this.at(event); this.drawRuler(); return; }
      const step = Math.max(this.drag.window[0], 50) / 250;
      const [width, center] = this.drag.window;
      this.setWindow("", [Math.max(1, width + (event.clientX - this.drag.x) * step), center + (event.clientY - this.drag.y) * step]);
      this.draw();
    });
    canvas.addEventListener("pointerup", () => { this.drag = null; });
  }

  close() { this.gone.abort(); this.blocks = { image: new Map(), mask: new Map() }; }
}
