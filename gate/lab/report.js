"use strict";
const NAMESPACE = "http://www.w3.org/2000/svg";
const STEPS = 60, GAP_PX = 14;

function drawn(tag, attributes) {
  const node = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function written(tag, text, className) {
  const node = document.createElement(tag);
  if (text) node.append(text);
  if (className) node.className = className;
  return node;
}

function forward(axis, value) {
  const [low, high] = axis.ends;
  if (!axis.log) return (value - low) / (high - low);
  return Math.log(value / low) / Math.log(high / low);
}

function backward(axis, share) {
  const [low, high] = axis.ends;
  return axis.log ? low * Math.pow(high / low, share) : low + share * (high - low);
}

function readable(axis, value) {
  return axis.percent ? `${Number((100 * value).toPrecision(4))} %` : String(Number(value.toPrecision(4)));
}

function valueAt(line, x, join) {
  let place = -1;
  for (let i = 0; i < line.x.length; i++) if (line.x[i] !== null && line.x[i] <= x + 1e-12) place = i;
  if (join === "nearest") {
    place = line.x.reduce((best, here, i) => Math.abs(here - x) < Math.abs(line.x[best] - x) ? i : best, 0);
  }
  if (place < 0 || line.y[place] === null || line.y[place] === undefined) return null;
  const found = {y: line.y[place], low: line.low[place] ?? null, high: line.high[place] ?? null};
  const next = place + 1;
  if (join !== "linear" || next >= line.x.length || line.y[next] === null) return found;
  const span = line.x[next] - line.x[place];
  const share = span > 0 ? (x - line.x[place]) / span : 0;
  const between = (a, b) => a === null || b === null || b === undefined ? null : a + share * (b - a);
  return {y: between(found.y, line.y[next]), low: between(found.low, line.low[next]), high: between(found.high, line.high[next])};
}

class Hover {
  constructor(figure) {
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.plot = figure.querySelector(".plot");
    this.picture = this.plot.querySelector("svg");
    this.cursor = this.picture.querySelector(".cursor");
    this.tip = this.plot.querySelector(".tip");
    this.share = null;
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerdown", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.hide());
    this.picture.addEventListener("blur", () => this.hide());
    this.picture.addEventListener("keydown", (event) => this.press(event));
  }

  point(event) {
    const frame = this.picture.getBoundingClientRect();
    const scale = this.picture.viewBox.baseVal.width / frame.width;
    const [left, , width] = this.data.box;
    this.show(((event.clientX - frame.left) * scale - left) / width);
  }

  press(event) {
    const places = this.data.places;
    const step = (places ? 1 / places.length : 1 / STEPS) * (event.shiftKey && !places ? 5 : 1);
    const now = this.share ?? (event.key === "ArrowLeft" ? 1 + step / 2 : (places ? -step / 2 : -step));
    const moves = {ArrowRight: now + step, ArrowLeft: now - step, Home: 0, End: 1};
    if (event.key === "Escape") this.hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.show(moves[event.key]);
  }

  show(share) {
    this.share = Math.min(1, Math.max(0, share));
    const {x, places, join, lines} = this.data;
    let here = backward(x, this.share);
    if (places) here = Math.min(places.length - 1, Math.max(0, Math.round(here)));
    else if (join === "nearest") here = this.nearest(here);
    const found = lines.map((line) => [line, valueAt(line, here, join)]).filter(([, value]) => value);
    const heading = places ? places[here] : `${x.label.replace(/ \[%\]$/, "")}: ${readable(x, here)}`;
    this.tip.replaceChildren(written("b", heading), ...found.map(([line, value]) => this.row(line, value)));
    this.tip.hidden = false;
    this.draw(here, found);
    this.settle(forward(x, here));
  }

  nearest(value) {
    const all = this.data.lines.length ? this.data.lines[0].x : [value];
    return all.reduce((best, here) => Math.abs(here - value) < Math.abs(best - value) ? here : best, all[0]);
  }

  row(line, value) {
    const row = written("span");
    row.append(written("i", "", line.style), `${line.name}: ${readable(this.data.y, value.y)}`);
    if (value.low !== null && value.high !== null) {
      row.append(` [${readable(this.data.y, value.low)}, ${readable(this.data.y, value.high)}]`);
    }
    return row;
  }

  draw(here, found) {
    const [left, top, width, height] = this.data.box;
    const across = left + width * forward(this.data.x, here);
    const marks = [drawn("path", {d: `M${across} ${top}V${top + height}`})];
    for (const [line, value] of this.data.dots ? found : []) {
      const up = forward(this.data.y, value.y);
      if (!(up >= 0 && up <= 1)) continue;
      marks.push(drawn("circle", {cx: across, cy: top + height * (1 - up), r: 3.5, class: `dot ${line.style}`}));
    }
    this.cursor.replaceChildren(...marks);
  }

  settle(share) {
    const [left, , width] = this.data.box;
    const whole = this.plot.clientWidth;
    const across = whole * (left + width * share) / this.picture.viewBox.baseVal.width;
    const room = across + GAP_PX + this.tip.offsetWidth <= whole;
    const start = room ? across + GAP_PX : across - GAP_PX - this.tip.offsetWidth;
    this.tip.style.left = `${Math.max(0, Math.min(start, whole - this.tip.offsetWidth))}px`;
    this.tip.style.top = "8px";
  }

  hide() {
    this.share = null;
    this.tip.hidden = true;
    this.cursor.replaceChildren();
  }
}

for (const figure of document.querySelectorAll("figure.chart")) new Hover(figure);
document.documentElement.dataset.ready = "yes";
