"use strict";
// ---- table: sort by a heading, filter by text; "#sort=key" in the address sorts at once

const table = document.getElementById("layers");
const keys = [...table.querySelectorAll("th")].map((th) => th.dataset.key);

function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

function sortBy(key, ascending) {
  const column = keys.indexOf(key);
  if (column < 0) return;
  const rows = [...table.tBodies[0].rows];
  const sign = ascending ? 1 : -1;
  rows.sort((a, b) => {
    const x = value(a, column), y = value(b, column);
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y)));
  });
  table.tBodies[0].append(...rows);
  for (const th of table.querySelectorAll("th")) th.removeAttribute("aria-sort");
  table.querySelectorAll("th")[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

table.tHead.addEventListener("click", (event) => {
  const th = event.target.closest("th");
  if (!th || !event.target.closest("button")) return;
  const before = th.getAttribute("aria-sort");
  const text = ["order", "name", "bound"].includes(th.dataset.key);
  sortBy(th.dataset.key, before ? before === "descending" : text);
});

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase();
  for (const row of table.tBodies[0].rows) row.hidden = !row.cells[1].textContent.toLowerCase().includes(words);
});

const wanted = new URLSearchParams(location.hash.slice(1)).get("sort");
if (wanted) sortBy(wanted, false);

// ---- timeline

const canvas = document.getElementById("canvas");
const tip = document.getElementById("tip");
const LEFT = 62, TOP = 6, AXIS = 24;
const [LANE, LAYER, OP, START, END, PORT_START, PORT_END, READ, WRITE, MACS, INDEX] = data.events.length ? data.events[0].keys() : [];
const used = data.lanes.map((name, lane) => (name === "DDR" ? data.events.some((e) => e[PORT_END] > e[PORT_START]) : data.events.some((e) => e[LANE] === lane)));
const lanes = data.lanes.map((name, lane) => lane).filter((lane) => used[lane]);
const LANE_HEIGHT = 30;
let view = [0, Math.max(data.makespan, 1e-3)];
let drag = null;

canvas.height = TOP + AXIS + LANE_HEIGHT * lanes.length;
canvas.style.height = `${canvas.height}px`;
const HEIGHT = canvas.height;

function spans(lane) {
  return data.lanes[lane] === "DDR"
    ? data.events.filter((e) => e[PORT_END] > e[PORT_START]).map((e) => [e[PORT_START], e[PORT_END], e])
    : data.events.filter((e) => e[LANE] === lane).map((e) => [e[START], e[END], e]);
}
const drawn = new Map(lanes.map((lane) => [lane, spans(lane)]));

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function step(width) {
  const power = 10 ** Math.floor(Math.log10(width / 6));
  return [1, 2, 5, 10].map((k) => k * power).find((size) => width / size <= 8);
}

function time(us, width) {
  return width > 2000 ? `${+(us / 1000).toFixed(3)} ms` : `${+us.toFixed(3)} µs`;
}

function draw() {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "12px system-ui, sans-serif";
  const [from, to] = view;
  const across = (us) => LEFT + ((us - from) / (to - from)) * (width - LEFT);
  const size = step(to - from);
  for (let tick = Math.ceil(from / size) * size; tick <= to; tick += size) {
    const x = across(tick);
    pen.fillStyle = colour("--line");
    pen.fillRect(x, TOP, 1, HEIGHT - AXIS);
    pen.fillStyle = colour("--soft");
    pen.textAlign = x > width - 40 ? "right" : "center";
    pen.fillText(time(tick, to - from), x, HEIGHT - 7);
  }
  pen.textAlign = "left";
  lanes.forEach((lane, row) => {
    const y = TOP + row * LANE_HEIGHT;
    const name = data.lanes[lane];
    pen.fillStyle = colour("--soft");
    pen.fillText(name, 4, y + 19);
    for (const [start, end, event] of drawn.get(lane)) {
      if (end < from || start > to) continue;
      const x = Math.max(across(start), LEFT);
      const wide = Math.max(Math.min(across(end), width) - x, 0.6);
      pen.fillStyle = colour(`--${name.toLowerCase()}`);
      pen.globalAlpha = event[LAYER] % 2 ? 0.72 : 1;
      pen.fillRect(x, y + 3, wide, LANE_HEIGHT - 6);
      pen.globalAlpha = 1;
      if (wide > 46) {
        pen.fillStyle = colour("--card");
        const label = data.layers[event[LAYER]];
        const fits = Math.floor((wide - 8) / 6.5);
        pen.fillText(label.length > fits ? `${label.slice(0, fits - 1)}…` : label, x + 4, y + 19);
      }
    }
  });
  if (drag && drag.now !== drag.from) {
    pen.fillStyle = colour("--accent");
    pen.globalAlpha = 0.2;
    pen.fillRect(Math.min(drag.from, drag.now), TOP, Math.abs(drag.now - drag.from), HEIGHT - AXIS);
    pen.globalAlpha = 1;
  }
}

function at(x) {
  return view[0] + ((x - LEFT) / (canvas.clientWidth - LEFT)) * (view[1] - view[0]);
}

function look(from, to) {
  const whole = Math.max(data.makespan, 1e-3);
  const width = Math.min(Math.max(to - from, whole / 1e5), whole);
  const start = Math.min(Math.max(from, 0), whole - width);
  view = [start, start + width];
  draw();
}

function zoom(factor) {
  const middle = (view[0] + view[1]) / 2, half = ((view[1] - view[0]) * factor) / 2;
  look(middle - half, middle + half);
}

function describe(x, y) {
  const lane = lanes[Math.floor((y - TOP) / LANE_HEIGHT)];
  if (lane === undefined || x < LEFT) return "";
  const us = at(x), reach = ((view[1] - view[0]) / canvas.clientWidth) * 1.5;
  const hit = drawn.get(lane).find(([start, end]) => start - reach <= us && us <= end + reach);
  if (!hit) return "";
  const [start, end, e] = hit;
  const lines = [data.layers[e[LAYER]], `${e[OP]}, instruction ${e[INDEX]}`, `${start.toFixed(2)} to ${end.toFixed(2)} µs: ${(end - start).toFixed(2)} µs`];
  if (e[MACS]) lines.push(`${e[MACS].toLocaleString("en")} MACs`);
  if (e[READ] || e[WRITE]) lines.push(`DDR: ${e[READ].toLocaleString("en")} B read, ${e[WRITE].toLocaleString("en")} B written`);
  return lines.join("\n");
}

canvas.addEventListener("mousemove", (event) => {
  if (drag) {
    drag.now = event.offsetX;
    draw();
  }
  const text = describe(event.offsetX, event.offsetY);
  tip.hidden = !text;
  tip.textContent = text;
  const room = canvas.clientWidth - 260;
  tip.style.left = `${canvas.offsetLeft + Math.min(event.offsetX + 14, room)}px`;
  tip.style.top = `${canvas.offsetTop + event.offsetY + 16}px`;
});
canvas.addEventListener("mouseleave", () => (tip.hidden = true));
canvas.addEventListener("mousedown", (event) => (drag = { from: event.offsetX, now: event.offsetX }));
window.addEventListener("mouseup", () => {
  if (drag && Math.abs(drag.now - drag.from) > 4) {
    const [from, to] = [at(Math.min(drag.from, drag.now)), at(Math.max(drag.from, drag.now))];
    drag = null;
    look(from, to);
  }
  drag = null;
  draw();
});
canvas.addEventListener("dblclick", () => look(0, data.makespan));
document.getElementById("in").addEventListener("click", () => zoom(0.5));
document.getElementById("out").addEventListener("click", () => zoom(2));
document.getElementById("all").addEventListener("click", () => look(0, data.makespan));
window.addEventListener("resize", draw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
document.documentElement.dataset.ready = String(data.events.length);
