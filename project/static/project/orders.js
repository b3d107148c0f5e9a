/** The order form, and each print on its way, live by server-sent events. */

import { byId, h } from "./dom.js";

const STAGES = ["queued", "rendering", "printing", "drying", "packing", "done"];

export class Orders {
  #bff;
  /** @type {AbortController} */
  #streams = new AbortController();

  /**
   * @param {object} options
   * @param {import("../oauthbff/bff.js").Bff} options.bff
   * @param {(work: () => Promise<void>) => Promise<void>} options.attempt  runs work, shows its failure
   */
  constructor({ bff, attempt }) {
    this.#bff = bff;
    byId("order").addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(() => this.#order(new FormData(event.target)));
    });
    document.addEventListener("change", ({ target }) => {
      if (target.name === "photo") this.showChosen();
    });
  }

  showChosen() {
    const chosen = document.querySelector("[name=photo]:checked");
    byId("chosen").textContent = chosen?.dataset.title ?? "Choose a photo above";
  }

  /** Let go of every stream and forget what was shown. */
  clear() {
    this.#streams.abort();
    this.#streams = new AbortController();
    byId("prints").replaceChildren();
    byId("order").reset();
    this.showChosen();
  }

  async #order(form) {
    const [photo, size, copies] = [form.get("photo"), form.get("size"), Number(form.get("copies"))];
    const title = byId("chosen").textContent;
    const print = await this.#bff.json("api/photos/prints", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ photo, size, copies }),
    });
    const what = `${size.replace("x", " × ")} cm · ${copies} ${copies === 1 ? "copy" : "copies"}`;
    const card = printCard(title, what);
    byId("prints").prepend(card.element);
    this.#follow(print, card);
  }

  #follow(print, card) {
    card.show({ percent: 0, stage: print.status });
    const { signal } = this.#streams;
    const news = this.#bff.events(`api/photos/${print.progress}`, { signal });
    news.addEventListener("progress", ({ data }) => {
      const progress = JSON.parse(data);
      card.show(progress);
      if (progress.stage === "done") news.close();
    });
    news.addEventListener("error", () => news.readyState === EventSource.CLOSED && card.lost());
  }
}

function printCard(title, what) {
  const bar = h("progress", { max: 100, value: 0, "aria-label": `Progress of ${title}` });
  const percent = h("span", { className: "percent" });
  const spoken = h("span", { className: "unseen", role: "status" });
  const steps = STAGES.map((stage) => h("li", {}, stage));
  const element = h(
    "li",
    { className: "print" },
    h("p", { className: "print-head" }, h("strong", {}, title), h("span", {}, what), percent),
    bar,
    h("ol", { className: "stages" }, steps),
    spoken,
  );
  return {
    element,
    show(progress) {
      bar.value = progress.percent;
      percent.textContent = `${Math.round(progress.percent)} %`;
      const now = STAGES.indexOf(progress.stage);
      const words = `${title}: ${progress.stage}`;
      if (spoken.textContent !== words) spoken.textContent = words; // said once per stage
      element.classList.toggle("finished", progress.stage === "done");
      steps.forEach((step, i) => {
        step.classList.toggle("past", i < now || progress.stage === "done");
        if (i === now) step.setAttribute("aria-current", "step");
        else step.removeAttribute("aria-current");
      });
    },
    lost() {
      percent.textContent = "no news";
    },
  };
}
