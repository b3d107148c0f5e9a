// Drives an order to end grants while its page is open: a step, the news, the next step.
// Without it the page has a button. Nothing is lost when it stops; `sweepgrants` goes on.

const PAUSE_MS = { ending: 0, telling: 200, waiting: 5000 };
const AFTER_A_FAILURE_MS = 3000;

const place = document.getElementById("grant-order");

async function step() {
  const token = place.querySelector("[name=csrfmiddlewaretoken]");
  if (!token) return;
  let pause = AFTER_A_FAILURE_MS;
  try {
    const answer = await fetch(location.href, {
      method: "POST",
      headers: { "X-CSRFToken": token.value, "X-Requested-With": "fetch" },
      body: new URLSearchParams({ step: "yes" }),
    });
    if (answer.redirected || answer.status === 403) return location.reload(); // signed out
    if (answer.ok) {
      show(await answer.text());
      pause = PAUSE_MS[phase()];
    }
  } catch {
    // The line is down or the server restarts; the order waits for us.
  }
  if (pause !== undefined) setTimeout(step, pause);
}

function phase() {
  return place.querySelector("[data-phase]").dataset.phase;
}

function show(html) {
  const focused = place.contains(document.activeElement);
  const news = new DOMParser().parseFromString(html, "text/html").body;
  place.replaceChildren(...news.childNodes);
  // A region that is replaced is not read out; this one stays, and its words change.
  const words = place.querySelector(".grant-news").textContent.replace(/\s+/g, " ").trim();
  const spoken = document.getElementById("grant-order-news");
  if (spoken.textContent !== words) spoken.textContent = words;
  if (focused) place.querySelector("button")?.focus();
}

const pause = PAUSE_MS[phase()];
if (pause !== undefined) setTimeout(step, pause);
