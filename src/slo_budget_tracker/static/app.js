"use strict";
// Live parts of a page, times in the reader's zone, keyboard, notes. Without this file every page is complete.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];

  // --- times: data instants (epoch seconds) as the reader's clock has them
  const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const long = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" });
  function tell(from = document) {
    for (const time of $$("time[datetime]", from)) {
      const seconds = Number(time.getAttribute("datetime"));
      if (!Number.isFinite(seconds) || !/^\d+$/.test(time.getAttribute("datetime"))) continue;
      const at = new Date(seconds * 1000);
      const recent = Math.abs(Date.now() - at) < 20 * 3600e3;
      time.textContent = (recent ? short : long).format(at);
      time.title = full.format(at);
    }
  }

  // --- theme
  function turn() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept */ }
    document.dispatchEvent(new Event("restyled"));
  }
  $("#theme").addEventListener("click", turn);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("restyled")));

  // --- notes: beside their button, also on hover
  document.addEventListener("toggle", (event) => {
    const note = event.target;
    if (event.newState !== "open" || !note.matches?.(".note")) return;
    const button = $(`[popovertarget="${CSS.escape(note.id)}"]`);
    if (!button) return;
    note.classList.add("placed");
    const at = button.getBoundingClientRect(), size = note.getBoundingClientRect();
    note.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    note.style.top = `${at.bottom + 8 + size.height > innerHeight ? Math.max(8, at.top - size.height - 8) : at.bottom + 8}px`;
  }, true);
  let waiting = 0;
  document.addEventListener("mouseover", (event) => {
    const button = event.target.closest?.(".hint");
    clearTimeout(waiting);
    if (button) waiting = setTimeout(() => { try { button.popoverTargetElement?.showPopover(); } catch { /* shown */ } }, 350);
  });
  document.addEventListener("mouseout", (event) => {
    const button = event.target.closest?.(".hint");
    if (!button) return;
    clearTimeout(waiting);
    try { if (button !== document.activeElement) button.popoverTargetElement?.hidePopover(); } catch { /* hidden */ }
  });

  // --- live parts: the page is fetched again and its marked parts are replaced
  let running = null;
  async function refresh(address = location.href) {
    running?.abort();
    const mine = running = new AbortController();
    try {
      const answer = await fetch(address, { signal: mine.signal, headers: { accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine.signal.aborted) return;
      swap(fresh);
      document.dispatchEvent(new Event("refreshed"));
    } catch (error) {
      if (error.name !== "AbortError") connection("off", "out of reach since");
    }
  }
  function swap(fresh) {
    const focused = document.activeElement?.closest("[data-live]") ? path(document.activeElement) : null;
    if ($("[data-live] .note:popover-open")) return; // somebody is reading; the next tick will do
    const open = new Map($$("[data-live] details[id]").map((one) => [one.id, one.open]));
    for (const part of $$("[data-live]")) {
      const with_ = fresh.getElementById(part.id);
      if (!with_) continue;
      tell(with_);
      if (part.innerHTML === with_.innerHTML && part.className === with_.className) continue;
      part.className = with_.className;
      part.replaceChildren(...with_.childNodes);
    }
    for (const [id, was] of open) { const one = document.getElementById(id); if (one) one.open = was; }
    const at = $("#live-at", fresh);
    if (at) { tell(fresh); $("#live-at").replaceWith(at); say(); }
    document.title = fresh.title;
    if (focused) $(focused)?.focus({ preventScroll: true });
  }
  function path(element) {
    const part = element.closest("[data-live]");
    const href = element.getAttribute("href"), target = element.getAttribute("popovertarget");
    if (href) return `#${part.id} [href="${CSS.escape(href)}"]`;
    return target ? `#${part.id} [popovertarget="${CSS.escape(target)}"]` : null;
  }
  const live = $("#live"), text = $("#live-text");
  let said = "";
  function connection(state, words) {
    live.className = `live ${state}`;
    said = words;
    say();
  }
  function say() { // where no data ever came, "data until" has nothing to say
    text.textContent = $("time#live-at") ? said : said.replace(/data until$/, "");
  }
  // Only a page that is looked at listens: a browser has six connections per server for all its tabs.
  let shown = null, stream = null;
  function follow() {
    if (stream || document.hidden) return;
    const mine = stream = new EventSource("/api/v1/stream");
    mine.addEventListener("tick", (event) => {
      if (JSON.parse(event.data).ready) connection("on", "live, data until");
      else connection("late", "not up to date, data until");
      const first = shown === null, changed = shown !== event.data;
      shown = event.data;
      if (changed && !first) refresh();
    });
    mine.addEventListener("error", () => {
      if (mine !== stream) return;
      connection("off", "connection lost, data until");
      if (mine.readyState === EventSource.CLOSED) { stream = null; setTimeout(follow, 10_000); }
    });
  }
  function leave() {
    const mine = stream;
    stream = null;
    mine?.close();
  }
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) { follow(); refresh(); } });
  document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else { follow(); refresh(); } });

  // --- filters: the address follows, the list follows the address
  const filters = $("#filters");
  function address() {
    const given = [...new FormData(filters)].filter(([name, value]) => value && !(name === "sort" && value === "urgency"));
    return given.length ? `/?${new URLSearchParams(given)}` : "/";
  }
  if (filters) {
    let soon = 0;
    const apply = () => { history.replaceState(null, "", address()); refresh(); };
    filters.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(apply, 150); });
    const narrow = $("#narrow"), button = $("#more-filters");
    button.setAttribute("aria-expanded", String(narrow.classList.contains("on")));
    button.addEventListener("click", () => button.setAttribute("aria-expanded", String(narrow.classList.toggle("on"))));
    document.addEventListener("click", (event) => { // a column's header sorts
      const order = event.target.closest?.("a.order");
      if (!order || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      filters.elements.sort.value = order.dataset.order;
      clearTimeout(soon);
      apply();
    });
    filters.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(soon); apply(); });
  }

  // --- keyboard
  const rows = () => $$(".slos tbody th a");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) {
      if (event.key === "Escape" && event.target.id === "q") event.target.blur();
      return;
    }
    const links = rows(), place = links.indexOf(document.activeElement);
    if (event.key === "/" && $("#q")) { event.preventDefault(); $("#q").focus(); $("#q").select(); }
    else if (event.key === "j") links[Math.min(place + 1, links.length - 1)]?.focus();
    else if (event.key === "k") links[Math.max(place - 1, 0)]?.focus();
    else if (event.key === "u") $("#up")?.click();
    else if (event.key === "d") turn();
    else if (event.key === "?") $("#keys").togglePopover();
  });

  tell();
  connection("", "data until");
  follow();
})();
