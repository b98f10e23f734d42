
// The last hour of one camera: how its quality is distributed, and what another bar would have let through.
const WIDE = 2;

function hourPanel(name) {
  const panel = {element: node("section"), hour: null, bar: null, moved: false, name};
  const title = node("h3");
  panel.faces = node("span", "", "Quality in the last hour");
  panel.most = node("span");
  title.append(panel.faces, panel.most);
  panel.chart = shape("svg", {viewBox: "0 0 101 40", preserveAspectRatio: "none", role: "img"}, "chart");
  panel.bars = [];
  panel.chart.append(shape("rect", {x: 0, y: 39, width: 101, height: 1}, "base"));
  for (let from = 0; from < 101; from += WIDE) {
    const bar = shape("rect", {x: from + .15, y: 39, width: WIDE - .3, height: 0});
    panel.bars.push(bar);
    panel.chart.append(bar);
  }
  panel.mark = shape("line", {y1: 0, y2: 40}, "bar");
  panel.chart.append(panel.mark);
  panel.slider = node("input");
  Object.assign(panel.slider, {type: "range", min: 0, max: 100, step: 1});
  panel.slider.setAttribute("aria-label", `Try another min_quality for ${name}`);
  panel.what = node("p", "what");
  panel.line = node("div", "line");
  panel.yaml = node("input");
  panel.yaml.readOnly = true;
  panel.yaml.setAttribute("aria-label", `Configuration of ${name} with this bar`);
  const copy = node("button", "", "Copy");
  copy.type = "button";
  panel.line.append(panel.yaml, copy);
  panel.line.hidden = true;
  panel.element.append(title, panel.chart, panel.slider, panel.what, panel.line);
  panel.slider.addEventListener("input", () => { panel.moved = true; drawHour(panel); });
  copy.addEventListener("click", () => copyLine(panel, copy));
  return panel;
}

function copyLine(panel, button) {
  panel.yaml.select();
  // Of the two, the clipboard is there on HTTPS and on this machine alone.
  const done = navigator.clipboard ? navigator.clipboard.writeText(panel.yaml.value) : Promise.reject();
  done.catch(() => { if (!document.execCommand("copy")) throw new Error(); })
    .then(() => say(button, "Copied"), () => say(button, "Press Ctrl+C"))
    .then(() => setTimeout(() => say(button, "Copy"), 2000));
}

function setBar(panel, bar) {
  if (typeof bar !== "number" || panel.bar === bar) return;
  panel.bar = bar;
  if (!panel.moved) panel.slider.value = Math.round(bar);
  drawHour(panel);
}

function drawHour(panel) {
  const bar = panel.moved ? Number(panel.slider.value) : panel.bar ?? 0;
  const quality = panel.hour ? panel.hour.quality : [];
  const heights = panel.bars.map((_, place) => sum(quality.slice(place * WIDE, (place + 1) * WIDE)));
  const most = Math.max(...heights, 1);
  panel.bars.forEach((rect, place) => {
    const high = heights[place] ? Math.max(1, 37 * heights[place] / most) : 0;
    rect.setAttribute("y", 39 - high);
    rect.setAttribute("height", high);
    rect.setAttribute("class", place * WIDE + WIDE > bar ? "over" : "");
  });
  panel.mark.setAttribute("x1", bar);
  panel.mark.setAttribute("x2", bar);
  const scored = sum(quality), over = sum(quality, Math.ceil(bar));
  panel.chart.setAttribute("aria-label", `Quality of ${number(scored)} faces of the last hour, 0 to 100; ${number(over)} at or above ${number(bar)}`);
  say(panel.most, `bar ${number(bar, 1)}`);
  panel.element.classList.toggle("empty", !isFull(panel.hour));
  say(panel.what, foretell(panel.hour, bar, panel.moved ? panel.bar : null));
  panel.line.hidden = !panel.moved || bar === panel.bar;
  panel.yaml.value = `decide: {min_quality: ${bar}}`;
  panel.slider.setAttribute("aria-valuetext", `min_quality ${bar}`);
}

function isFull(hour) { return hour !== null && sum(hour.visits) + hour.visits_unscored + sum(hour.quality) > 0; }

// What a bar would have let through, and how much more or less that is than now.
function foretell(hour, bar, now) {
  if (!isFull(hour)) return "No face in the last hour.";
  const place = Math.ceil(bar), visits = sum(hour.visits) + hour.visits_unscored, faces = sum(hour.quality);
  const passing = sum(hour.visits, place), over = sum(hour.quality, place);
  let change = "";
  if (now !== null && now !== bar) {
    const more = passing - sum(hour.visits, Math.ceil(now));
    change = more ? `, ${more > 0 ? "+" : "−"}${number(Math.abs(more))} against ${number(now, 1)}` : `, as at ${number(now, 1)}`;
  }
  return `A bar of ${number(bar, 1)} lets through ${number(passing)} of ${number(visits)} visits${change}; ${number(over)} of ${number(faces)} scored faces.`;
}
