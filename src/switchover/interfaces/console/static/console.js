// What makes the server's pages live. Every page works without it: it repeats no rule and renders nothing but the map of
// squares; the rest is parts of pages, fetched again when the server says that something has changed.

const main = document.querySelector("main");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function page(url, headers = {}) {
  const answer = await fetch(url, { headers: { "X-Requested-With": "console", ...headers }, credentials: "same-origin" });
  if (answer.redirected && new URL(answer.url).pathname.endsWith("/login")) location.assign(answer.url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.text();
}

const parse = (text) => new DOMParser().parseFromString(text, "text/html");

/** At most one run at a time, and another one after it when somebody asked meanwhile; never more often than every `ms`. */
function calmly(work, ms) {
  let running = false;
  let again = false;
  return async function ask() {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      try {
        await work();
      } catch (problem) {
        console.warn(problem);
      }
      await wait(document.hidden ? ms * 10 : ms);
    }
    running = false;
  };
}

// --- parts of the page --------------------------------------------------------------------------------------------

function withQuery(changes) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) url.searchParams.set(name, value);
  return url;
}

/** By what the same element is found again in a part that was fetched anew. */
const name = (element) => element.getAttribute("href") ?? `${element.name}=${element.value}`;

const parts = calmly(async () => {
  const fresh = parse(await page(withQuery({ part: "1" })));
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const shown = document.getElementById(part.id);
    if (!shown || shown.innerHTML === part.innerHTML) continue;
    const focus = shown.contains(document.activeElement) ? name(document.activeElement) : null;
    const open = new Map([...shown.querySelectorAll("details")].map((one) => [one.id, one.open]));
    shown.innerHTML = part.innerHTML;
    for (const one of shown.querySelectorAll("details")) one.open = open.get(one.id) ?? one.open;
    if (focus) [...shown.querySelectorAll("a, input, button")].find((one) => name(one) === focus)?.focus({ preventScroll: true });
  }
}, 400);

// --- the board ----------------------------------------------------------------------------------------------------

const table = document.querySelector("table[data-rows]");
const filters = document.querySelector("form[data-filters]");
const body = table?.tBodies[0];
const view = { first: Number(table?.dataset.first ?? 0), found: Number(table?.dataset.found ?? 0) };

const height = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) * 16;

function gaps(rows) {
  if (rows <= 0) return [];
  const row = document.createElement("tr");
  row.className = "gap";
  row.innerHTML = "<td colspan=4></td>";
  row.firstChild.height = Math.round(rows * height());
  row.setAttribute("aria-hidden", "true");
  return [row];
}

function asked(extra = {}) {
  const query = new URLSearchParams(new FormData(filters));
  if (!query.get("q")) query.delete("q");
  for (const [name, value] of Object.entries(extra)) query.set(name, value);
  return query;
}

/** The rows that can be seen, and some around them; above and below them is a gap of the right height. */
const rows = calmly(async () => {
  const top = body.getBoundingClientRect().top;
  const seen = Math.ceil(innerHeight / height());
  const first = Math.max(0, Math.floor(-top / height()) - seen);
  const count = seen * 3;
  const fresh = parse(await page(`${table.dataset.rows}?${asked({ first, count })}`));
  const found = Number(fresh.querySelector("table").dataset.found);
  const focus = document.activeElement?.closest("tr[data-row]")?.dataset.row;
  const lines = [...fresh.querySelectorAll("tr")].map((row) => document.importNode(row, true));
  body.replaceChildren(...gaps(first), ...lines, ...gaps(found - first - lines.length));
  table.setAttribute("aria-rowcount", found);
  Object.assign(view, { first, found });
  if (focus) body.querySelector(`tr[data-row="${focus}"] a`)?.focus({ preventScroll: true });
}, 250);

function scrolled() {
  const top = -body.getBoundingClientRect().top / height();
  const held = body.querySelectorAll("tr[data-row]").length;
  const bottom = top + innerHeight / height();
  if ((top < view.first && view.first > 0) || (bottom > view.first + held && view.first + held < view.found)) rows();
}

const map = document.querySelector("canvas[data-map]");
let letters = "";

const squares = calmly(async () => {
  letters = await page(`${map.dataset.map}?${asked()}`);
  draw();
}, 700);

const shape = () => {
  const size = letters.length > 8000 ? 6 : letters.length > 1500 ? 9 : 14;
  return { size, across: Math.max(1, Math.floor(map.clientWidth / size)) };
};

function draw() {
  const { size, across } = shape();
  const ratio = devicePixelRatio || 1;
  const tall = Math.ceil(letters.length / across) * size;
  map.width = map.clientWidth * ratio;
  map.height = tall * ratio;
  map.style.height = `${tall}px`;
  const style = getComputedStyle(document.documentElement);
  const tones = JSON.parse(map.dataset.tones);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const paint = map.getContext("2d");
  paint.scale(ratio, ratio);
  const side = size - (size > 8 ? 2 : 1);
  for (let index = 0; index < letters.length; index += 1) {
    const x = (index % across) * size;
    const y = Math.floor(index / across) * size;
    const tone = tones[letters[index]] ?? "waiting";
    paint.fillStyle = colour(tone);
    // Never by colour alone: what fails is a cross, what waits a hollow square, what runs or is paused is not whole.
    if (tone === "failed" || tone === "broken") {
      paint.fillRect(x, y, side, side);
      paint.strokeStyle = colour(`${tone}-ink`);
      paint.beginPath();
      paint.moveTo(x + 2, y + 2);
      paint.lineTo(x + side - 2, y + side - 2);
      paint.moveTo(x + side - 2, y + 2);
      paint.lineTo(x + 2, y + side - 2);
      paint.stroke();
    } else if (tone === "waiting") {
      paint.strokeStyle = colour(tone);
      paint.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
    } else if (tone === "running") {
      paint.beginPath();
      paint.moveTo(x, y);
      paint.lineTo(x + side, y + side / 2);
      paint.lineTo(x, y + side);
      paint.fill();
    } else if (tone === "paused") {
      paint.fillRect(x, y, side / 3, side);
      paint.fillRect(x + (side * 2) / 3, y, side / 3, side);
    } else if (tone === "back") {
      paint.beginPath();
      paint.arc(x + side / 2, y + side / 2, side / 2, 0, 7);
      paint.fill();
    } else {
      paint.fillRect(x, y, side, side);
    }
  }
}

function jump(event) {
  const box = map.getBoundingClientRect();
  const { size, across } = shape();
  const index = Math.floor((event.clientY - box.top) / size) * across + Math.floor((event.clientX - box.left) / size);
  if (index < 0 || index >= letters.length) return;
  scrollTo({ top: scrollY + body.getBoundingClientRect().top + index * height() - innerHeight / 3 });
  rows();
}

if (table) {
  document.querySelector("[data-pager]")?.setAttribute("hidden", "");
  addEventListener("scroll", scrolled, { passive: true });
  addEventListener("resize", () => { rows(); draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  map.addEventListener("click", jump);
  const filter = () => {
    history.replaceState(null, "", `?${asked()}`);
    rows();
    squares();
  };
  filters.addEventListener("input", filter);
  filters.addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  squares();
  rows();
}

// --- events -------------------------------------------------------------------------------------------------------

const list = document.querySelector("ol[data-events]");
const MOST_EVENTS = 500;

const news = calmly(async () => {
  const fresh = parse(await page(`${list.dataset.events}?after=${list.firstElementChild?.value ?? 0}`));
  for (const item of [...fresh.querySelectorAll("li")].reverse()) {
    item.classList.add("fresh");
    list.prepend(document.importNode(item, true));
  }
  while (list.children.length > MOST_EVENTS) list.lastElementChild.remove();
}, 300);

// --- questions ----------------------------------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-ask]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const question = parse(await page(link.href)).querySelector("[data-dialog] > form");
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "question");
    dialog.append(document.importNode(question, true));
    document.body.append(dialog);
    dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
    dialog.querySelector("[data-close]").addEventListener("click", (leaving) => { leaving.preventDefault(); dialog.close(); });
    dialog.showModal();
  } catch {
    location.assign(link.href);
  }
});

// --- the feed -----------------------------------------------------------------------------------------------------

function follow(url) {
  const light = document.querySelector("[data-live]");
  const tell = (state, text) => { light.dataset.state = state; light.textContent = text; };
  const look = () => {
    if (document.querySelector("[data-part]")) parts();
    if (table) { rows(); squares(); }
    if (list) news();
  };
  let feed;
  const open = () => {
    feed = new EventSource(url);
    feed.addEventListener("open", () => { tell("live", "live"); look(); });
    feed.addEventListener("change", look);
    feed.addEventListener("error", () => {
      tell("lost", "connection lost, trying again");
      if (feed.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || open(), 2000);
    });
  };
  // A page that nobody sees must not keep its connection: browsers allow six to one server.
  document.addEventListener("visibilitychange", () => {
    feed?.close();
    if (!document.hidden) open();
  });
  addEventListener("pagehide", () => feed?.close());
  if (!document.hidden) open();
}

const top = document.querySelector(".top");
document.documentElement.style.setProperty("--top", `${top.offsetHeight}px`);
if (main?.dataset.feed) follow(main.dataset.feed);
