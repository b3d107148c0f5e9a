/** The photo grid: list, choose, upload, delete. */

import { byId, h } from "./dom.js";

/** @typedef {{id: string | number, title: string, width: number, height: number, url: string}} Photo */

export class Photos {
  #bff;
  #journal;
  #attempt;
  #onListed;
  #onMissing;
  /** @type {Map<string, HTMLElement>} */
  #tiles = new Map();

  /**
   * @param {object} options
   * @param {import("../oauthbff/bff.js").Bff} options.bff
   * @param {import("./journal.js").Journal} options.journal
   * @param {(work: () => Promise<void>) => Promise<void>} options.attempt  runs work, shows its failure
   * @param {() => void} options.onListed  the grid has changed, perhaps without the chosen photo
   * @param {() => void} options.onMissing  an image did not come
   */
  constructor({ bff, journal, attempt, onListed, onMissing }) {
    this.#bff = bff;
    this.#journal = journal;
    this.#attempt = attempt;
    this.#onListed = onListed;
    this.#onMissing = onMissing;
    byId("upload").addEventListener("change", ({ target }) => {
      const [file] = target.files;
      target.value = "";
      if (file) this.#attempt(() => this.#upload(file));
    });
  }

  /** Show what the API has; tiles already shown stay, so their images are not asked for again. */
  async load() {
    /** @type {{photos: Photo[]}} */
    const { photos } = await this.#bff.json("api/photos/photos");
    const kept = new Map();
    for (const photo of photos) {
      const id = String(photo.id);
      kept.set(id, this.#tiles.get(id) ?? this.#tile(photo));
    }
    this.#tiles = kept;
    byId("photo-grid").replaceChildren(...kept.values());
    byId("no-photos").hidden = photos.length > 0;
    this.#onListed();
  }

  clear() {
    this.#tiles.clear();
    byId("photo-grid").replaceChildren();
  }

  async #upload(file) {
    byId("upload-label").setAttribute("aria-busy", "true");
    try {
      await this.#bff.json(`api/photos/photos?title=${encodeURIComponent(file.name)}`, {
        method: "POST",
        headers: { "Content-Type": file.type || "application/octet-stream" },
        body: file,
      });
      await this.load();
    } finally {
      byId("upload-label").removeAttribute("aria-busy");
    }
  }

  async #delete(photo) {
    await this.#bff.json(`api/photos/photos/${encodeURIComponent(photo.id)}`, { method: "DELETE" });
    await this.load();
    byId("photos-title").focus();
  }

  #tile(photo) {
    const radio = h("input", { type: "radio", name: "photo", value: photo.id, required: true });
    radio.setAttribute("form", "order");
    radio.dataset.title = photo.title;
    return h(
      "li",
      { className: "tile" },
      h("label", {}, radio, this.#image(photo), h("span", { className: "caption" }, photo.title)),
      this.#deleteButton(photo),
    );
  }

  #image(photo) {
    const src = this.#bff.url(`api/photos/${photo.url}`);
    const id = this.#journal.imageLeft(src);
    const image = h("img", { alt: "", width: photo.width, height: photo.height });
    image.addEventListener("load", () => this.#journal.answered(id, { status: 200, code: null }));
    image.addEventListener("error", () => {
      this.#journal.answered(id, { status: 0, code: null });
      this.#onMissing();
    });
    image.src = src;
    return image;
  }

  /** Asks once more before it deletes; leaving the button takes the question back. */
  #deleteButton(photo) {
    const button = h("button", { type: "button", className: "delete" });
    const ask = (sure) => {
      button.dataset.sure = String(sure);
      button.textContent = sure ? "Delete?" : "×";
      button.setAttribute("aria-label", sure ? `Really delete ${photo.title}?` : `Delete ${photo.title}`);
    };
    button.addEventListener("click", () => {
      if (button.dataset.sure === "true") this.#attempt(() => this.#delete(photo));
      else ask(true);
    });
    button.addEventListener("blur", () => ask(false));
    ask(false);
    return button;
  }
}
