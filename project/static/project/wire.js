/** Draws the journal: for each call, what left the browser and what reached the API. */

import { byId, h } from "./dom.js";
import { reachesApi, settled } from "./journal.js";

/** @type {Map<string, HTMLElement>} */
const rows = new Map();

/** Draw `journal` into the panel and keep it drawn. @param {import("./journal.js").Journal} journal */
export function draw(journal) {
  const list = byId("calls");
  journal.addEventListener("change", ({ detail: entry }) => {
    const row = rows.get(entry.id) ?? h("li", { className: "call" });
    if (!rows.has(entry.id)) {
      rows.set(entry.id, row);
      list.prepend(row);
    }
    row.replaceChildren(...content(entry));
    prune(journal);
    summary(journal);
  });
  journal.addEventListener("clear", () => {
    prune(journal);
    summary(journal);
  });
}

function prune(journal) {
  const kept = new Set(journal.entries.map((entry) => entry.id));
  for (const [id, row] of rows) {
    if (kept.has(id)) continue;
    row.remove();
    rows.delete(id);
  }
}

function summary(journal) {
  byId("carried").textContent = journal.carried;
  byId("refreshes").textContent = Math.max(0, journal.tokens.size - 1);
  const readable = {
    "document.cookie": document.cookie.split("; ").filter(Boolean).map((pair) => pair.split("=")[0]),
    localStorage: Object.keys(localStorage),
    sessionStorage: Object.keys(sessionStorage),
  };
  byId("readable").replaceChildren(
    ...Object.entries(readable).map(([place, names]) =>
      h("li", {}, h("code", {}, place), ` ${names.join(", ") || "empty"}`),
    ),
  );
}

/** @param {import("./journal.js").Entry} entry */
function content(entry) {
  const many = entry.images?.length > 1;
  const path = many ? entry.path.replace(/[^/]+(?=\/[^/]*$)/, "…") : entry.path;
  const head = h(
    "p",
    { className: "call-head" },
    h("b", {}, entry.method),
    h("code", {}, breakable(path)),
    many && h("span", { className: "times" }, `× ${entry.images.length}`),
    h("span", { className: `status ${tone(entry)}` }, status(entry)),
    h("time", { dateTime: entry.at.toISOString() }, entry.at.toLocaleTimeString()),
  );
  const sides = h("div", { className: "sides" }, left(), h("span", { className: "hop", "aria-hidden": "true" }), right(entry));
  const marker =
    entry.refreshed &&
    h("p", { className: "refreshed" }, h("span", {}, h("b", {}, "token refreshed"), " — you noticed nothing"));
  return [head, sides, marker].filter(Boolean);
}

const left = () =>
  side("from-browser", [
    ["cookie", "yes", "HttpOnly, not readable here"],
    ["token", "no"],
  ]);

/** @param {import("./journal.js").Entry} entry */
function right(entry) {
  const arrival = [...entry.arrivals.values()].at(-1);
  if (!arrival) return h("div", { className: "side nothing" }, h("p", {}, why(entry)));
  const { token } = arrival;
  const carried = token
    ? [
        ["token", `…${token.jti_tail}`, `expires in ${token.expires_in} s`],
        ["subject", token.sub],
        ["scope", token.scope],
      ]
    : [["token", "no"]];
  return side("to-api", [["cookie", arrival.cookie ? "yes" : "no"], ...carried]);
}

/** Why the right side is empty. */
function why(entry) {
  if (!reachesApi(entry)) return "Answered here, by the backend. Nothing went to the API.";
  if (entry.code && entry.status >= 500) return `The backend got no answer (${entry.code}).`;
  if (entry.code) return `Stopped by the backend (${entry.code}). Nothing went to the API.`;
  if (settled(entry)) return "The API has no record of it; perhaps the browser still had the answer.";
  return "On its way…";
}

/** @param {string} className  @param {[name: string, value: string, aside?: string][]} facts */
function side(className, facts) {
  const rows = facts.map(([name, value, aside]) =>
    h(
      "div",
      { className: value === "no" ? "fact none" : "fact" },
      h("dt", {}, name),
      h("dd", {}, value, aside ? h("small", {}, aside) : null),
    ),
  );
  return h("dl", { className: `side ${className}` }, rows);
}

function status(entry) {
  if (entry.status === null) return "…";
  return entry.status === 0 ? "no answer" : String(entry.status);
}

function tone(entry) {
  if (entry.status === null) return "";
  return entry.status >= 200 && entry.status < 400 ? "good" : "bad";
}

/** Lets a long path break after its slashes. */
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, document.createElement("wbr")]);
}
