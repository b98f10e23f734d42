"use strict";

const SVG = document.createRange().createContextualFragment("<svg></svg>").firstChild.namespaceURI;

function at(id) { return document.getElementById(id); }

function node(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function shape(tag, attributes, className) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (className) element.setAttribute("class", className);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function spoken(word) { return String(word).replaceAll("_", " "); }

function number(value, digits = 0) {
  return typeof value === "number" ? value.toLocaleString("en", {maximumFractionDigits: digits}) : "–";
}

function percent(part, whole) { return `${Math.round(100 * part / whole)} %`; }

function span(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

function milliseconds(value) {
  if (typeof value !== "number") return "–";
  return value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

function sum(counts, from = 0) {
  let total = 0;
  for (let place = from; place < counts.length; place++) total += counts[place];
  return total;
}
