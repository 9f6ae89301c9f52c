// Keeps the page up to date. Everything it shows is in the page without it.
"use strict";

(() => {
  const EVERY = 15000; // milliseconds between updates while nothing is told
  const announce = document.getElementById("announce");
  const retry = Number(document.getElementById("main").dataset.retry || 0) * 1000; // on a page that waits for data
  let added = 0;
  let timer = 0;
  let loading = false;

  const span = (seconds) => {
    for (const [unit, name] of [[31557600, "y"], [86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
    }
    return `${Math.floor(seconds)} s`;
  };

  // Ages as the page was given them go on from there.
  let loaded = performance.now();
  const tick = () => {
    for (const each of document.querySelectorAll("[data-age]")) {
      each.textContent = span(Number(each.dataset.age) + (performance.now() - loaded) / 1000);
    }
    for (const each of document.querySelectorAll("[data-ago]")) {
      const seconds = (Date.now() - Date.parse(each.dataset.ago)) / 1000;
      each.textContent = seconds < 0 ? `in ${span(-seconds)}` : `${span(seconds)} ago`;
    }
  };

  // The same link, or failing that the same place, in what took its part's place.
  const refocus = (part, focused) => {
    if (!focused) return;
    const candidates = [...part.querySelectorAll("a[href], summary, [tabindex='0']")];
    const again = candidates.find((each) => each.outerHTML === focused.html) || candidates[focused.index];
    if (again) again.focus({ preventScroll: true });
  };

  const exchange = (fresh) => {
    for (const old of document.querySelectorAll("[data-live]")) {
      const part = fresh.getElementById(old.id);
      if (!part) continue;
      const active = old.contains(document.activeElement) ? document.activeElement : null;
      const places = [...old.querySelectorAll("a[href], summary, [tabindex='0']")];
      const focused = active && { html: active.outerHTML, index: places.indexOf(active) };
      const opened = [...old.querySelectorAll("details")].map((each) => each.open);
      old.replaceWith(document.adoptNode(part));
      part.querySelectorAll("details").forEach((each, index) => { each.open = opened[index] || false; });
      refocus(part, focused);
    }
  };

  const update = async () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(update, retry || EVERY);
    if (loading || document.hidden) return;
    loading = true;
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      if (response.ok && retry) {
        location.reload();
      } else if (response.ok) {
        const standing = () => document.getElementById("standing").textContent.trim();
        const before = standing();
        exchange(new DOMParser().parseFromString(await response.text(), "text/html"));
        loaded = performance.now();
        tick();
        // The new standing is on the page already: this is for those who listen to it.
        announce.className = added > 0 ? "" : "visually-hidden";
        if (added > 0) {
          announce.textContent = added === 1 ? "1 new record." : `${added} new records.`;
        } else if (standing() !== before) {
          announce.textContent = standing();
        }
        added = 0;
      }
    } catch {
      announce.className = "";
      announce.textContent = "The gateway cannot be reached; this page shows what it last said.";
    } finally {
      loading = false;
    }
  };

  const soon = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(update, 400);
  };

  // Only a page that is looked at listens: a browser has few connections to one host, and every stream takes one.
  let stream = null;
  const listen = () => {
    if (stream || document.hidden) return;
    stream = new EventSource("/events");
    stream.addEventListener("incidents", () => { added += 1; soon(); });
    stream.addEventListener("sources", soon);
    stream.addEventListener("reset", soon);
  };
  const leave = () => {
    if (stream) stream.close();
    stream = null;
  };
  const look = () => {
    if (document.hidden) return leave();
    listen();
    return soon();
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => { if (event.persisted) look(); });
  listen();
  window.setInterval(tick, 1000);
  tick();
  timer = window.setTimeout(update, retry || EVERY);
})();
