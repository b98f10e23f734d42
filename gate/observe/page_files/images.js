
// Pictures, where page.images allows them: the latest crops, and a preview with boxes, landmarks and zones.
function picturePanel(name) {
  const panel = {preview: node("figure"), crops: node("section"), zones: null};
  panel.image = node("img");
  panel.image.alt = `Preview of ${name}`;
  panel.image.hidden = true;
  panel.drawing = shape("svg", {"aria-hidden": "true"});
  panel.note = node("p", "", "waiting for a picture");
  panel.preview.append(panel.note, panel.image, panel.drawing);
  panel.lists = {};
  for (const [kind, title] of [["accepted", "Latest accepted"], ["rejected", "Latest rejected"]]) {
    panel.lists[kind] = node("ul", "crops");
    panel.crops.append(node("h3", "", title), panel.lists[kind]);
  }
  return panel;
}

function showCrops(panel, crops) {
  for (const kind of ["accepted", "rejected"]) {
    const list = panel.lists[kind];
    const known = crops[kind].map((crop) => crop.id).join();
    if (list.dataset.known === known && list.childElementCount) continue;
    list.dataset.known = known;
    const old = new Map([...list.querySelectorAll("li[data-id]")].map((item) => [item.dataset.id, item]));
    list.replaceChildren(...crops[kind].map((crop) => old.get(String(crop.id)) || cropItem(crop, kind)));
    if (!crops[kind].length) list.append(node("li", "none", "none yet"));
  }
}

function cropItem(crop, kind) {
  const item = node("li"), image = node("img");
  const reasons = crop.reasons.map(spoken).join(", ");
  item.dataset.id = crop.id;
  image.src = `crop?id=${crop.id}`;
  image.width = image.height = 112;
  image.alt = `${kind} face${crop.quality === null ? "" : `, quality ${number(crop.quality)}`}${reasons ? `, ${reasons}` : ""}`;
  item.title = new Date(crop.captured_ms).toLocaleString();
  item.append(image, node("b", "", crop.quality === null ? "not scored" : number(crop.quality)), node("span", "", reasons));
  return item;
}

function showPreview(panel, preview) {
  const {width, height, faces} = preview;
  panel.image.src = `data:image/jpeg;base64,${preview.jpeg}`;
  panel.image.hidden = false;
  panel.note.hidden = true;
  panel.preview.classList.remove("away");
  panel.preview.style.aspectRatio = `${width} / ${Math.min(height, width)}`;
  panel.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const zones = panel.zones || {include: [], exclude: []};
  const polygons = [["", zones.include], ["out", zones.exclude]].flatMap(([kind, list]) => (list || []).map((polygon) =>
    shape("polygon", {points: polygon.map(([x, y]) => `${x * width},${y * height}`).join(" ")}, kind)));
  panel.drawing.replaceChildren(...polygons, ...faces.map((face) => drawnFace(face, width)));
}

function drawnFace(face, width) {
  const [x, y, w, h] = face.box;
  const group = shape("g", {}, {accepted: "ok", unscored: "quiet"}[face.verdict]);
  const size = width / 30;
  const quality = face.quality === null ? "" : number(face.quality);
  const label = shape("text", {x, y: y > 1.3 * size ? y - size * .35 : y + h + size, "font-size": size});
  const why = face.verdict === "unscored" ? "not scored" : spoken(face.reasons[0] || "");
  label.textContent = [quality, why].filter(Boolean).join(" ");
  group.append(shape("rect", {x, y, width: Math.max(w, 0), height: Math.max(h, 0)}), label);
  for (const [cx, cy] of face.landmarks) group.append(shape("circle", {cx, cy, r: Math.max(w / 40, width / 400)}));
  return group;
}

function hidePreview(panel, text) {
  panel.image.hidden = true;
  panel.image.removeAttribute("src");
  panel.drawing.replaceChildren();
  panel.note.hidden = false;
  panel.preview.classList.add("away");
  say(panel.note, text);
}
