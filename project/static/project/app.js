/**
 * The page: loading, signed out, signed in.
 *
 * The BFF's client says when somebody is signed in and when that is over, be it in another tab;
 * all other failures end in `attempt`.
 */

import { Bff, SignedOut } from "../oauthbff/bff.js";
import { Countdown } from "./countdown.js";
import { byId } from "./dom.js";
import { Journal } from "./journal.js";
import { Orders } from "./orders.js";
import { Photos } from "./photos.js";
import { draw } from "./wire.js";
import * as words from "./words.js";

const SESSION_EVERY_MS = 60_000;
const CALL_EVERY_MS = 20_000;
const ASK_AGAIN_AFTER_MS = 5_000;
const LOOK_UP_AFTER_MS = 350;

const journal = new Journal();
const bff = new Bff({ send: journal.send });

const orders = new Orders({ bff, attempt });
const photos = new Photos({
  bff,
  journal,
  attempt,
  onListed: () => orders.showChosen(),
  onMissing: glance,
});
const countdown = new Countdown({ onZero: () => attempt(checkSession) });

/** @type {"loading" | "out" | "in" | "trouble"} */
let state = "loading";
let timers = [];
let lastAsked = 0;
let lookingUp = false;

// --- what is shown -----------------------------------------------------------

function show(next) {
  state = next;
  document.body.dataset.state = next;
  for (const section of document.querySelectorAll("[data-when]")) {
    section.hidden = !section.dataset.when.split(" ").includes(next);
  }
}

/** Tell the person something small; a screen reader says it as well. */
function say(text, { bad = false } = {}) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("bad", bad);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (status.textContent = ""), bad ? 9000 : 4000);
}

/** Forget everything of who was here. */
function clear() {
  timers.forEach(clearInterval);
  timers = [];
  countdown.stop();
  orders.clear();
  photos.clear();
  journal.clear();
}

function signedOut(notice) {
  const wasSignedIn = state === "in";
  clear();
  byId("notice").textContent = notice ?? "";
  byId("notice").hidden = !notice;
  show("out");
  if (wasSignedIn) byId("hero-title").focus();
}

/** @param {import("../oauthbff/bff.js").SignedInSession} session */
async function signedIn(session) {
  clear(); // it may be somebody else
  byId("user-name").textContent = session.user.name ?? session.user.email ?? session.user.sub;
  countdown.start(session.grant);
  show("in");
  timers = [
    setInterval(() => attempt(checkSession), SESSION_EVERY_MS),
    setInterval(() => byId("keep-calling").checked && !document.hidden && attempt(tryCall), CALL_EVERY_MS),
  ];
  await attempt(lookUp); // so that arrivals from before this page are not taken for ours
  await photos.load();
}

// --- what is done ------------------------------------------------------------

/** Run `work`; show its failure, unless it is that of `onEnded`. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    if (error instanceof SignedOut) return;
    else if (state === "in") say(words.refused(error), { bad: true });
    else if (state === "loading") show("trouble");
    else throw error;
  }
}

/** Ask whether we are still signed in; `slide` also counts it as activity. */
async function checkSession({ slide = false } = {}) {
  lastAsked = Date.now();
  const session = await bff.session({ slide });
  if (state === "in" && session.authenticated) countdown.start(session.grant);
}

/** The same for hints that come in crowds, such as six images that all failed. */
function glance() {
  if (state === "in" && Date.now() - lastAsked > ASK_AGAIN_AFTER_MS) attempt(checkSession);
}

async function tryCall() {
  await bff.json("api/photos/prints");
  if (countdown.warns) await checkSession();
}

/** Read the API's own record of what reached it, for the right side of the panel. */
async function lookUp() {
  journal.reached((await bff.json("api/photos/calls", { aside: true })).calls);
}

function lookUpSoon() {
  if (lookingUp || state !== "in" || !journal.waiting) return;
  lookingUp = true;
  setTimeout(async () => {
    let found = false;
    await attempt(async () => {
      if (state === "in") await lookUp();
      found = true;
    });
    lookingUp = false;
    if (found) lookUpSoon(); // after a failure the next call asks again, not this one for ever
  }, LOOK_UP_AFTER_MS);
}

/** The code of a failed sign-in, taken out of the address bar. */
function failedLogin() {
  const url = new URL(location.href);
  const code = url.searchParams.get("bff_error");
  url.searchParams.delete("bff_error");
  if (code !== null) history.replaceState(null, "", url);
  return code === null ? null : words.loginFailed(code);
}

async function start() {
  show("loading");
  const failure = failedLogin();
  const session = await bff.session();
  if (!session.authenticated) signedOut(failure ?? (session.ended && words.ended(session.ended)));
}

draw(journal);
bff.onSignedIn((session) => attempt(() => signedIn(session)));
bff.onEnded((reason) => signedOut(words.ended(reason)));
journal.addEventListener("change", lookUpSoon);
byId("sign-in").addEventListener("click", () => bff.login());
byId("retry").addEventListener("click", () => attempt(start));
byId("log-out").addEventListener("click", () => attempt(() => bff.logout()));
byId("stay").addEventListener("click", () => attempt(() => checkSession({ slide: true })));
byId("try-call").addEventListener("click", () => attempt(tryCall));
document.addEventListener("visibilitychange", () => document.hidden || glance());
// A page kept for the Back button may show what is no longer ours to show.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
attempt(start);
