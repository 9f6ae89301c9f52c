// Keeps the page up to date. The page is complete without it.
"use strict";

(() => {
  const UPDATE_INTERVAL_MS = 15000; // without events
  const MAX_RELOAD_MS = 30000;
  const EVENT_DELAY_MS = 400; // collects events that arrive together
  // Relative to the script, since a proxy may serve the gateway below any path.
  const root = new URL("..", document.currentScript.src);
  const main = document.getElementById("main");
  const announce = document.getElementById("announce");
  // Until there is data, only the state of the sources can be updated.
  const isWaiting = "waiting" in main.dataset;
  let interval = Number(main.dataset.reloadSeconds || 0) * 1000 || UPDATE_INTERVAL_MS;
  let added = 0;
  let timer = 0;
  let loading = false;

  const duration = (seconds) => {
    for (const [unit, name] of [
      [31557600, "y"],
      [86400, "d"],
      [3600, "h"],
      [60, "min"],
    ]) {
      if (seconds >= unit) return `${Math.floor(seconds / unit)} ${name}`;
    }
    return `${Math.floor(seconds)} s`;
  };

  // Ages count up from their values when the page was loaded.
  let loadedAt = performance.now();
  const tick = () => {
    for (const element of document.querySelectorAll("[data-age]")) {
      element.textContent = duration(
        Number(element.dataset.age) + (performance.now() - loadedAt) / 1000,
      );
    }
    for (const element of document.querySelectorAll("[data-ago]")) {
      const seconds = (Date.now() - Date.parse(element.dataset.ago)) / 1000;
      element.textContent = seconds < 0 ? `in ${duration(-seconds)}` : `${duration(seconds)} ago`;
    }
  };

  // Restores the focus: to the same element in the new part, or else the one at the same position.
  const refocus = (part, focused) => {
    if (!focused) return;
    const candidates = [...part.querySelectorAll("a[href], summary, [tabindex='0']")];
    const target =
      candidates.find((element) => element.outerHTML === focused.html) || candidates[focused.index];
    if (target) target.focus({ preventScroll: true });
  };

  const replaceLiveParts = (fresh) => {
    for (const old of document.querySelectorAll("[data-live]")) {
      const part = fresh.getElementById(old.id);
      if (!part) continue;
      const active = old.contains(document.activeElement) ? document.activeElement : null;
      const candidates = [...old.querySelectorAll("a[href], summary, [tabindex='0']")];
      const focused = active && { html: active.outerHTML, index: candidates.indexOf(active) };
      const opened = [...old.querySelectorAll("details")].map((element) => element.open);
      old.replaceWith(document.adoptNode(part));
      part.querySelectorAll("details").forEach((element, index) => {
        element.open = opened[index] || false;
      });
      refocus(part, focused);
    }
  };

  const freshness = () => document.getElementById("freshness").textContent.trim();

  const update = async () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(update, interval);
    if (isWaiting) interval = Math.min(interval * 1.5, MAX_RELOAD_MS);
    if (loading || document.hidden) return;
    loading = true;
    try {
      const response = await fetch(location.href, { headers: { accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const freshMain = fresh.getElementById("main");
      if (!freshMain) return; // a proxy's page
      const isStillWaiting = "waiting" in freshMain.dataset;
      if (isWaiting && !isStillWaiting) return location.reload();
      if (isStillWaiting && !isWaiting) return;
      const before = freshness();
      replaceLiveParts(fresh);
      loadedAt = performance.now();
      tick();
      if (!isWaiting)
        interval = Number(freshMain.dataset.reloadSeconds || 0) * 1000 || UPDATE_INTERVAL_MS;
      // Announces the freshness, which the page shows anyway, to screen readers.
      announce.className = added > 0 ? "" : "visually-hidden";
      if (added > 0) {
        announce.textContent = added === 1 ? "1 new record." : `${added} new records.`;
      } else if (freshness() !== before) {
        announce.textContent = freshness();
      }
      added = 0;
    } catch {
      announce.className = "";
      announce.textContent = "The gateway cannot be reached. This page shows its last answer.";
    } finally {
      loading = false;
    }
  };

  const updateSoon = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(update, EVENT_DELAY_MS);
  };

  // Only a visible page listens: browsers limit the connections per host, and a stream takes one.
  let stream = null;
  const listen = () => {
    if (stream || document.hidden) return;
    stream = new EventSource(new URL("events", root));
    stream.addEventListener("incidents", () => {
      added += 1;
      updateSoon();
    });
    stream.addEventListener("sources", updateSoon);
    stream.addEventListener("reset", updateSoon);
  };
  const leave = () => {
    if (stream) stream.close();
    stream = null;
  };
  const onVisibilityChange = () => {
    if (document.hidden) return leave();
    listen();
    return updateSoon();
  };
  document.addEventListener("visibilitychange", onVisibilityChange);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) onVisibilityChange();
  });
  listen();
  window.setInterval(tick, 1000);
  tick();
  timer = window.setTimeout(update, interval);
})();
