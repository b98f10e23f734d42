
const FACTS = [
  ["fps", "Frames/s"], ["age", "Last frame"], ["dropped", "Dropped"],
  ["p50", "Latency p50"], ["p95", "Latency p95"], ["p99", "Latency p99"],
  ["visits", "Visits"], ["unusable", "Unusable"], ["best", "Best quality"],
  ["accepted", "Accepted"], ["rejected", "Rejected"], ["unscored", "Not scored"],
];
const STATES = {up: ["good", "● up"], lost: ["bad", "▲ lost"], connecting: ["wait", "◌ connecting"], ended: ["soft", "■ ended"]};
const MOST_REASONS = 5;
let made = 0;

function tile(name) {
  const article = node("article"), heading = node("h2"), toggle = node("button", "toggle"), body = node("div", "body");
  const cells = {state: node("span", "state"), brief: node("p", "brief"), briefShare: node("div", "share brief")};
  toggle.type = "button";
  toggle.id = `camera-${made}`;
  body.id = `details-${made++}`;
  toggle.append(node("span", "", name), cells.state);
  toggle.setAttribute("aria-controls", body.id);
  heading.append(toggle);
  article.setAttribute("aria-labelledby", toggle.id);
  const list = node("dl");
  for (const [key, label] of FACTS) {
    const pair = node("div");
    cells[key] = node("dd");
    pair.append(node("dt", "", label), cells[key]);
    list.append(pair);
  }
  const faces = cells.faces = node("section"), share = cells.share = node("div", "share");
  const shareTitle = node("h3");
  cells.shareText = node("span");
  cells.unscoredText = node("span");
  shareTitle.append(cells.shareText, cells.unscoredText);
  cells.good = node("i");
  cells.poor = node("i");
  cells.reasons = node("ul", "reasons");
  cells.faces.hidden = true;
  share.setAttribute("aria-hidden", "true");
  share.append(cells.good, cells.poor);
  faces.append(shareTitle, share, cells.reasons);
  const panel = hourPanel(name);
  cells.drift = node("p", "hint");
  panel.element.append(cells.drift);
  body.append(list, panel.element, faces);
  cells.briefGood = node("i");
  cells.briefShare.append(cells.briefGood, node("i"));
  cells.briefShare.setAttribute("aria-hidden", "true");
  article.append(heading, cells.brief, cells.briefShare, body);
  return {name, article, toggle, body, cells, panel, pictures: null, visible: false, state: ""};
}

function addPictures(tile) {
  tile.pictures = picturePanel(tile.name);
  tile.body.prepend(tile.pictures.preview);
  tile.body.append(tile.pictures.crops);
}

function showState(tile, camera) {
  const [tone, word] = STATES[camera.state] || ["wait", String(camera.state)];
  tile.state = camera.state;
  tile.cells.state.className = `state ${tone}`;
  tile.article.classList.toggle("lost", camera.state === "lost");
  say(tile.cells.state, camera.cause ? `${word}: ${spoken(camera.cause)}` : word);
}

function showCamera(tile, camera, nowMs) {
  const {cells} = tile;
  const {accepted, rejected, unscored} = camera.faces;
  const age = camera.last_frame_ms === null ? "–" : span((nowMs - camera.last_frame_ms) / 1000);
  showState(tile, camera);
  const faces = accepted + rejected;
  say(cells.brief, `${number(camera.fps, 1)} fps · ${age} · ${faces ? `${percent(accepted, faces)} accepted` : unscored ? `${number(unscored)} not scored` : "no face"}`);
  cells.briefShare.hidden = !faces;
  cells.briefGood.style.width = `${100 * accepted / Math.max(1, faces)}%`;
  say(cells.fps, number(camera.fps, 1));
  say(cells.age, age);
  say(cells.dropped, number(camera.frames.dropped));
  say(cells.visits, number(camera.visits.published + camera.visits.unusable));
  say(cells.unusable, number(camera.visits.unusable));
  say(cells.accepted, number(accepted));
  say(cells.rejected, number(rejected));
  say(cells.unscored, number(unscored));
  say(cells.best, number(camera.best_quality, 0));
  say(cells.p50, milliseconds(camera.latency_ms.p50));
  say(cells.p95, milliseconds(camera.latency_ms.p95));
  say(cells.p99, milliseconds(camera.latency_ms.p99));
  setBar(tile.panel, camera.min_quality);
  showDrift(cells.drift, camera.quality_drift);
  if (!tile.pictures) return;
  tile.pictures.zones = camera.zones;
  if (camera.state !== "up") hidePreview(tile.pictures, "no picture: the camera is away");
}

function showDrift(element, drift) {
  if (!drift || drift.index === null) return say(element, "");
  element.className = drift.index > 0.25 ? "hint bad" : "hint";
  say(element, `quality drift ${number(drift.index, 2)} from ${drift.same_hour ? "this hour of the day" : "the whole baseline"}`);
}

function showHour(tile, hour) {
  const {cells} = tile;
  const rejected = sum(Object.values(hour.reasons)), faces = hour.accepted + rejected;
  tile.panel.hour = hour;
  drawHour(tile.panel);
  cells.faces.hidden = !faces && !hour.unscored;
  say(cells.shareText, faces ? `${percent(hour.accepted, faces)} of ${number(faces)} faces accepted in the last hour` : "no face judged in the last hour");
  say(cells.unscoredText, hour.unscored ? `${number(hour.unscored)} not scored` : "");
  cells.share.hidden = !faces;
  cells.good.style.width = `${100 * hour.accepted / Math.max(1, faces)}%`;
  cells.poor.style.width = `${100 * rejected / Math.max(1, faces)}%`;
  showReasons(cells.reasons, hour.reasons, rejected);
}

function showReasons(list, reasons, rejected) {
  const rows = Object.entries(reasons).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  const known = JSON.stringify(rows);
  if (list.dataset.known === known) return;
  list.dataset.known = known;
  const rest = rows.slice(MOST_REASONS);
  const shown = rest.length > 1 ? [...rows.slice(0, MOST_REASONS), [`${rest.length} other reasons`, sum(rest.map((row) => row[1]))]] : rows;
  list.replaceChildren(...shown.map(([reason, count]) => {
    const row = node("li"), track = node("span", "track"), bar = node("i");
    bar.style.width = `${100 * count / Math.max(1, rejected)}%`;
    track.setAttribute("aria-hidden", "true");
    track.append(bar);
    row.append(node("span", "", spoken(reason)), track, node("b", "", number(count)));
    return row;
  }));
}
