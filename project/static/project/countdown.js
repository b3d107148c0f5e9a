/** Counts down to the end of a sign-in. The server decides; this only shows. */

import { byId } from "./dom.js";

const WARN_BELOW_SECONDS = 120;
// Seconds arrive rounded down; and a server that says "0, but signed in" is not asked in a loop.
const AT_LEAST_SECONDS = 5;

export class Countdown {
  #onZero;
  #timer;
  #endsAt = 0;
  #wording = "";

  /** @param {{onZero: () => void}} options  `onZero` is told once per `start` */
  constructor({ onZero }) {
    this.#onZero = onZero;
  }

  /** @param {{idle_expires_in: number, expires_in: number}} grant  in seconds from now */
  start({ idle_expires_in, expires_in }) {
    this.stop();
    const seconds = Math.min(idle_expires_in, expires_in) + 1;
    this.#endsAt = Date.now() + Math.max(seconds, AT_LEAST_SECONDS) * 1000;
    this.#wording = idle_expires_in < expires_in ? "without activity" : "at the latest";
    this.#timer = setInterval(() => this.#show(), 1000);
    this.#show();
  }

  stop() {
    clearInterval(this.#timer);
    byId("warning").hidden = true;
  }

  get warns() {
    return this.#left <= WARN_BELOW_SECONDS;
  }

  get #left() {
    return Math.max(0, Math.ceil((this.#endsAt - Date.now()) / 1000));
  }

  #show() {
    byId("countdown").textContent = `Signed out in ${clock(this.#left)} ${this.#wording}`;
    byId("warning").hidden = !this.warns;
    if (this.#left === 0) {
      clearInterval(this.#timer);
      this.#onZero();
    }
  }
}

/** 3725 → "1:02:05", 65 → "01:05" */
function clock(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const [hours, rest] = [Math.floor(seconds / 3600), seconds % 3600];
  const minutes = `${two(Math.floor(rest / 60))}:${two(rest % 60)}`;
  return hours ? `${hours}:${minutes}` : minutes;
}
