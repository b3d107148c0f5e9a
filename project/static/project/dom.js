/** Two words for building pages. Text is always text; nothing here parses HTML. */

/**
 * Make an element: `h("p", { className: "note" }, "Hello")`.
 * Keys are DOM properties, or attributes when they contain a dash.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.includes("-")) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false));
  return element;
}

/** @param {string} id @returns {HTMLElement} */
export const byId = (id) => document.getElementById(id);
