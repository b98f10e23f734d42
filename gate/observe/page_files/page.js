
const GIVE_UP_MS = 4000, MOST_LINES = 6, MOST_EVENTS = 60, FEW = 5, CROWD = 24, MOST_CROPS_AT_ONCE = 60;
const tiles = new Map();
let paused = false, lastAnswer = null, compact = null, images = false, source = null, lastEvent = 0, news = [];

const inSight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const seen = [...tiles.values()].find((tile) => tile.article === entry.target);
    if (seen) seen.visible = entry.isIntersecting;
  }
});

function isOpen(tile) { return !document.body.classList.contains("compact") || tile.article.classList.contains("open"); }

function watched() { return [...tiles.values()].filter((tile) => tile.visible && !tile.article.hidden && isOpen(tile)); }

function pause(milliseconds) { return new Promise((resolve) => setTimeout(resolve, milliseconds)); }

async function ask(path) {
  const answer = await fetch(path, {cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS)});
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function showRedis(redis) {
  const tone = {connected: "good", away: "bad"}[redis.state] || "wait";
  const waiting = redis.waiting_events ? `, ${number(redis.waiting_events)} waiting` : "";
  const lost = sum(Object.values(redis.lost));
  at("redis").className = tone;
  say(at("redis"), redis.state + (redis.cause ? ` (${spoken(redis.cause)})` : "") + waiting + (lost ? `, ${number(lost)} lost` : ""));
}

function notice(lines, alarm) {
  const more = lines.length - MOST_LINES;
  const shown = more > 1 ? [...lines.slice(0, MOST_LINES), `and ${more} more`] : lines;
  at("notice").className = alarm ? "alarm" : "";
  say(at("notice"), shown.join("\n"));
}

function addTile(name) {
  const one = tile(name);
  tiles.set(name, one);
  if (images) addPictures(one);
  one.toggle.setAttribute("aria-expanded", String(isOpen(one)));
  one.toggle.addEventListener("click", () => {
    if (document.body.classList.contains("compact")) one.article.classList.toggle("open");
    one.toggle.setAttribute("aria-expanded", String(isOpen(one)));
  });
  at("cameras").append(one.article);
  inSight.observe(one.article);
}

function show(status) {
  const cameras = Object.entries(status.cameras);
  const wanted = status.methods[0] || status.method;
  const up = cameras.filter(([, camera]) => camera.state === "up").length;
  const lost = cameras.filter(([, camera]) => camera.state === "lost").length;
  images = status.images;
  say(at("version"), status.version);
  say(at("up"), `${up} of ${cameras.length} up`);
  at("up").className = lost ? "bad" : up ? "good" : "wait";
  say(at("method"), status.method === wanted ? status.method || "loading" : `${status.method} instead of ${wanted}`);
  say(at("published"), number(status.total.published));
  say(at("uptime"), span(status.uptime_s));
  showRedis(status.redis);
  const faults = [...status.reasons, ...status.shedding.map((what) => `too busy: leaves out ${spoken(what)}`)];
  notice(faults.length ? [status.ready ? "Working, but:" : "Not ready:", ...faults] : [], !status.ready);
  for (const [name, {article}] of tiles) {
    if (!(name in status.cameras)) { inSight.unobserve(article); article.remove(); tiles.delete(name); }
  }
  document.body.classList.toggle("few", cameras.length < FEW && !compact);
  if (compact === null) beCompact(cameras.length > CROWD);
  for (const [name, camera] of cameras) {
    if (!tiles.has(name)) addTile(name);
    showCamera(tiles.get(name), camera, status.now_ms);
  }
  sift();
  document.title = lost ? `(${lost} lost) gate` : "gate";
}

function sift() {
  const wanted = at("filter").value.trim().toLowerCase();
  const trouble = at("trouble").getAttribute("aria-pressed") === "true";
  let shown = 0;
  for (const {name, article, state} of tiles.values()) {
    article.hidden = !name.toLowerCase().includes(wanted) || (trouble && (state === "up" || state === "ended"));
    shown += !article.hidden;
  }
  at("nothing").hidden = shown > 0 || !tiles.size;
  say(at("nothing"), trouble && !wanted ? "No camera is in trouble." : "No camera matches. Clear the filter to see all.");
}

function beCompact(wanted) {
  compact = wanted;
  document.body.classList.toggle("compact", wanted);
  at("compact").setAttribute("aria-pressed", String(wanted));
  for (const one of tiles.values()) {
    one.article.classList.remove("open");
    one.toggle.setAttribute("aria-expanded", String(isOpen(one)));
  }
}

async function pollStatus() {
  try {
    show(await ask("status"));
    lastAnswer = new Date();
    at("cameras").classList.remove("stale");
  } catch (error) {
    const since = lastAnswer ? ` Last answer at ${lastAnswer.toLocaleTimeString()}.` : "";
    notice([`The gate does not answer.${since} Trying again.`], true);
    at("cameras").classList.add("stale");
    document.title = "(away) gate";
  }
}

async function pollHour() {
  if (!tiles.size) return;
  const hours = await ask("hour");
  for (const [name, one] of tiles) {
    if (hours[name] && (isOpen(one) || !one.panel.hour)) showHour(one, hours[name]);
  }
}

async function pollCrops() {
  const names = images ? watched().map((one) => one.name).slice(0, MOST_CROPS_AT_ONCE) : [];
  if (!names.length) return;
  const crops = await ask(`crops?${names.map((name) => `camera=${encodeURIComponent(name)}`).join("&")}`);
  for (const name of names) {
    const one = tiles.get(name);
    if (one && one.pictures && crops[name]) showCrops(one.pictures, crops[name]);
  }
}

// One picture after the other, of the cameras in sight only.
async function pollPreviews() {
  for (const one of images ? watched() : []) {
    if (paused || document.hidden || !one.pictures || one.state !== "up") continue;
    try {
      showPreview(one.pictures, await ask(`preview?camera=${encodeURIComponent(one.name)}`));
    } catch (error) {
      hidePreview(one.pictures, "no picture came");
    }
  }
}

async function keep(poll, everyMs) {
  for (;;) {
    if (!paused && !document.hidden) await poll().catch(() => {});
    await pause(everyMs());
  }
}

const SAID = {
  camera_up: (n) => ["good", `${n.camera}: up`],
  camera_lost: (n) => ["bad", `${n.camera}: lost, ${spoken(n.cause)}`],
  camera_ended: (n) => ["", `${n.camera}: ended`],
  redis_connected: () => ["good", "Redis connected"],
  redis_away: (n) => ["bad", `Redis away, ${spoken(n.cause)}`],
  events_lost: (n) => ["bad", `events lost: ${spoken(n.reason)}`],
  method: (n) => [n.cause ? "wait" : "good", `${n.method} scores${n.cause ? ` instead of ${n.instead_of}: ${spoken(n.cause)}` : " again"}`],
  config_reloaded: () => ["good", "configuration reloaded"],
  config_kept: (n) => ["wait", `configuration not taken over: ${n.problem}`],
  visit: (n) => [n.result === "published" ? "good" : "wait",
    `${n.camera}: ${n.result === "published" ? "published" : "not usable"}${n.best_quality === null ? "" : `, best ${number(n.best_quality)}`}`],
};

// In bunches: of two hundred cameras dozens of visits end a second.
function showNews() {
  if (!news.length) return;
  const items = news.splice(0).slice(-MOST_EVENTS).reverse().map((one) => {
    const [tone, text] = (SAID[one.kind] || (() => ["", spoken(one.kind)]))(one);
    const item = node("li"), time = node("time", "", new Date(one.at_ms).toLocaleTimeString("en-GB"));
    item.append(time, node("span", tone, text));
    return item;
  });
  at("events").prepend(...items);
  while (at("events").childElementCount > MOST_EVENTS) at("events").lastElementChild.remove();
}

function follow() {
  if (source || paused || document.hidden) return;
  source = new EventSource(`events?after=${lastEvent}`);
  source.onopen = () => say(at("events-state"), "");
  source.onmessage = (message) => {
    lastEvent = Number(message.lastEventId);
    news.push(JSON.parse(message.data));
  };
  source.onerror = () => {
    say(at("events-state"), "(not connected, trying again)");
    // The browser itself tries again unless it was refused.
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(follow, 10000); }
  };
}

function leave() {
  if (source) source.close();
  source = null;
}

function pressed(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  return on;
}

at("pause").addEventListener("click", () => {
  paused = pressed(at("pause"));
  say(at("pause"), paused ? "Resume" : "Pause");
  if (paused) leave(); else follow();
});
at("compact").addEventListener("click", () => beCompact(!compact));
at("trouble").addEventListener("click", () => { pressed(at("trouble")); sift(); });
at("filter").addEventListener("input", sift);
document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else follow(); });
document.addEventListener("keydown", (key) => {
  if (key.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) { key.preventDefault(); at("filter").focus(); }
});
setInterval(showNews, 250);
follow();
keep(pollStatus, () => (tiles.size > 100 ? 3000 : 1000));
keep(pollHour, () => (lastAnswer ? 5000 : 500));
keep(pollCrops, () => 2000);
keep(pollPreviews, () => 1000);
