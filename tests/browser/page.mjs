// The pages in Chromium: without console errors, policy violations or findings of axe; by keyboard,
// dark, narrow, without JavaScript, with failing sources, live, and behind a proxy. The upstream is
// scripted here, so that its data can change.
//
// usage: node page.mjs GATEWAY-BINARY TOOLS-FOLDER
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, request } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [binary, tools] = process.argv.slice(2).map((path) => resolve(path));
const require = createRequire(join(tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const shots = join(tools, "screenshots");
mkdirSync(shots, { recursive: true });

// --- The upstream --------------------------------------------------------------------------------

const evil = "<script>alert(1)</script>";
const fixtures = new URL("../../fixtures/", import.meta.url);
const bodies = new Map();
for (const name of [
  "identities",
  "denial",
  "intrusion",
  "executable",
  "misuse",
  "unauthorized",
  "probing",
  "other",
  "people",
  "signin",
  "mail",
]) {
  bodies.set(name, readFileSync(new URL(`${name}.json`, fixtures), "utf8"));
}
const drop = (source, text) => {
  const body = JSON.parse(bodies.get(source));
  body.results = body.results.filter((record) => !JSON.stringify(record).includes(text));
  bodies.set(source, JSON.stringify(body));
};
const add = (source, record) => {
  bodies.set(source, bodies.get(source).replace(/\]\s*\}\s*$/, `,${JSON.stringify(record)}]}`));
};
for (const id of [".", "a/b"])
  add("misuse", { employee_id: id, priority: "critical", timestamp: 1632400000 });
add("misuse", {
  employee_id: `${evil}"'`,
  priority: "critical",
  timestamp: 1632400000,
  [evil]: evil,
  note: '" onload="x',
});

let open = false; // answers nothing until it is
const failing = new Set();
const waiting = [];
const upstream = createServer((incoming, response) => {
  const [, first, second] = incoming.url.split("?")[0].split("/");
  const name = first === "incidents" ? second : first; // as in src/demo/sources.yaml
  const answer = () => {
    if (failing.has(name)) return response.writeHead(500).end();
    return response.writeHead(200, { "content-type": "application/json" }).end(bodies.get(name));
  };
  if (open) answer();
  else waiting.push(answer);
});
await new Promise((ready) => upstream.listen(0, "127.0.0.1", ready));

// --- The gateway ---------------------------------------------------------------------------------

const freePort = () =>
  new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
const port = await freePort();
// The seven sources, two mapped ones, and a table of people with names.
const sources = fileURLToPath(new URL("../../src/demo/sources.yaml", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "incident-gateway-"));
const log = [];
const gateway = spawn(
  binary,
  ["serve", "--config", sources, "--listen", `127.0.0.1:${port}`, "--admin-listen", `127.0.0.1:${await freePort()}`],
  {
    env: {
      ...process.env,
      ELEVATE_USERNAME: "demo",
      ELEVATE_PASSWORD: "demo",
      ELEVATE_BASE_URL: `http://127.0.0.1:${upstream.address().port}`,
      INCIDENT_GATEWAY__CACHE__TTL: "2s",
      INCIDENT_GATEWAY__STORE__URL: `sqlite:${join(folder, "history.db")}`,
      INCIDENT_GATEWAY__UPSTREAM__RETRIES: "0",
    },
    stdio: ["ignore", "ignore", "pipe"],
  },
);
gateway.stderr.on("data", (text) => log.push(text.toString()));
const base = `http://127.0.0.1:${port}`;

// --- A proxy that serves the gateway below /gateway/ ---------------------------------------------

// Like nginx's `location /gateway/ { proxy_pass http://gateway/; }`, it resolves escapes in paths.
const proxyServer = createServer((incoming, outgoing) => {
  const [path, query] = incoming.url.split("?");
  if (!path.startsWith("/gateway/")) return outgoing.writeHead(404).end();
  const target = encodeURI(decodeURIComponent(path.slice("/gateway".length))).replace(
    /[?#]/g,
    encodeURIComponent,
  );
  const { method, headers } = incoming;
  const forward = request(
    { port, method, headers, path: query === undefined ? target : `${target}?${query}` },
    (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    },
  );
  outgoing.on("close", () => forward.destroy());
  forward.on("error", () => outgoing.destroy());
  return forward.end();
});
await new Promise((ready) => proxyServer.listen(0, "127.0.0.1", ready));
const proxy = `http://127.0.0.1:${proxyServer.address().port}/gateway`;

// --- The browser ---------------------------------------------------------------------------------

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

const complaints = [];
const tab = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => {
    // A 4xx or 5xx page is written to the console as an error, and is one here on purpose.
    const status = /the server responded with a status of (400|404)/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !status)
      complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`${page.url()}: a dialog`);
    dialog.dismiss();
  });
  if (options.javaScriptEnabled !== false) {
    await page.addInitScript(() =>
      addEventListener("securitypolicyviolation", (event) => {
        console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`);
      }),
    );
  }
  return page;
};
const check = async (page, name) => {
  await page.screenshot({ path: join(shots, `${name}.png`) });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }),
  );
  const found = violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n")}`,
  );
  assert.deepEqual(found, [], `axe on ${name}`);
};

const tests = {
  async "before there is data a page says what it waits for, and shows the data when it arrives"() {
    const [page, employee, plain, unknown] = [
      await tab(),
      await tab(),
      await tab({ javaScriptEnabled: false }),
      await tab(),
    ];
    const all = [
      [page, "/"],
      [employee, "/employees/1234"],
      [plain, "/"],
      [unknown, "/employees/nobody"],
    ];
    for (const [each, path] of all) {
      const started = Date.now();
      const response = await each.goto(base + path);
      assert.equal(response.status(), 200);
      assert.ok(Date.now() - started < 1500, "it did not wait for data");
      assert.match(await each.textContent("main"), /Waiting for data/);
      assert.match(await each.textContent(".sources"), /identities.*being fetched/s);
    }
    try {
      await check(page, "waiting-light");
      await page.emulateMedia({ colorScheme: "dark" });
      await check(page, "waiting-dark");
      await employee.setViewportSize({ width: 360, height: 800 });
      await check(employee, "waiting-narrow");
    } finally {
      open = true;
      waiting.splice(0).forEach((answer) => answer());
    }
    await page.waitForSelector("table.employees tbody tr", { timeout: 10000 });
    await employee.waitForSelector("table.incidents tbody tr", { timeout: 10000 });
    await plain.waitForSelector("table.employees tbody tr", { timeout: 10000 });
    await unknown.waitForSelector("h1:has-text('Unknown employee')", { timeout: 10000 });
    for (const [each] of all) await each.context().close();
  },

  async "behind a proxy that serves it below a path, everything works"() {
    const page = await tab();
    const requested = [];
    page.on("request", (request) => requested.push(new URL(request.url()).pathname));
    await page.goto(`${proxy}/`);
    assert.equal(
      await page.evaluate(() => getComputedStyle(document.querySelector(".panel")).borderTopStyle),
      "solid",
    );
    await page.click("a[rel=next]");
    await page.check("input[name=type][value=misuse]");
    await page.click("button[type=submit]");
    assert.match(page.url(), /\/gateway\/\?type=misuse/);
    await page.locator("table.employees tbody a").first().click();
    assert.match(page.url(), /\/gateway\/employees\//);
    await page.click(".crumbs a");
    assert.equal(page.url(), `${proxy}/`);
    for (const id of [".", "a/b"]) {
      await page.goto(`${proxy}/?type=misuse&since=1632400000`);
      await page
        .locator("table.employees tbody a", { hasText: new RegExp(`^${id.replace(".", "\\.")}$`) })
        .click();
      assert.equal(await page.textContent("h1 .id"), id);
      assert.equal(await page.locator("table.incidents tbody tr").count(), 1);
      await Promise.all([page.waitForNavigation(), page.click("text=The same as JSON")]);
      assert.match(await page.textContent("body"), /"critical":/);
    }
    assert.ok(requested.includes("/gateway/events"), "the script listens below the path");
    assert.deepEqual(
      requested.filter((path) => !path.startsWith("/gateway/")),
      [],
    );
    await page.context().close();
  },

  async "in light, dark and narrow windows axe finds no violation"() {
    const backgrounds = [];
    for (const [name, options] of [
      ["light", { colorScheme: "light" }],
      ["dark", { colorScheme: "dark" }],
      ["narrow", { colorScheme: "light", viewport: { width: 360, height: 800 } }],
    ]) {
      const page = await tab(options);
      for (const [kind, path] of [
        ["overview", "/"],
        ["employee", "/employees/1234"],
        ["empty", "/?until=1"],
        ["refused", "/?since=x"],
        ["unknown", "/employees/nobody"],
      ]) {
        await page.goto(base + path);
        await page.evaluate(() =>
          document.querySelectorAll("details").forEach((each) => {
            each.open = true;
          }),
        );
        await check(page, `${kind}-${name}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${kind}-${name} is ${wide} px too wide`);
      }
      backgrounds.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
      await page.context().close();
    }
    assert.notEqual(backgrounds[0], backgrounds[1]);
    assert.equal(backgrounds[0], backgrounds[2]);
  },

  async "filters work by keyboard and have an address to share"() {
    const page = await tab();
    await page.goto(base);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
    for (let presses = 0; presses < 200; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.matches("input[value=critical]"))) break;
    }
    await page.keyboard.press("Space");
    await Promise.all([page.waitForNavigation(), page.keyboard.press("Enter")]);
    assert.equal(new URL(page.url()).searchParams.get("priority"), "critical");
    assert.ok(await page.isChecked("input[value=critical]"));
    const shared = await tab();
    await shared.goto(page.url());
    assert.equal(
      await shared.textContent("table.employees"),
      await page.textContent("table.employees"),
    );
    assert.equal(await shared.locator(".tally.low strong").textContent(), "0");
    // On to an employee, whose page keeps the filter.
    await shared.locator("table.employees tbody a").nth(1).focus();
    await Promise.all([shared.waitForNavigation(), shared.keyboard.press("Enter")]);
    assert.equal(new URL(shared.url()).searchParams.get("priority"), "critical");
    assert.equal(await shared.locator(".incidents .priority:not(.critical)").count(), 0);
    await page.context().close();
    await shared.context().close();
  },

  async "without JavaScript everything works"() {
    const page = await tab({ javaScriptEnabled: false });
    await page.goto(base);
    assert.equal(await page.locator("table.employees tbody tr").count(), 50);
    await page.click("a[rel=next]");
    assert.match(page.url(), /page=2/);
    await page.goto(base);
    await page.check("input[name=type][value=denial]");
    await page.click("button[type=submit]");
    assert.match(page.url(), /type=denial/);
    await page.locator("table.employees tbody a").first().click();
    assert.ok((await page.locator("table.incidents tbody tr").count()) > 0);
    await page.context().close();
  },

  async "what the upstream sends is shown as text"() {
    const page = await tab();
    await page.goto(`${base}/?type=misuse&priority=critical`);
    await page.locator("table.employees tbody a", { hasText: evil }).click();
    assert.ok((await page.textContent("table.incidents")).includes(evil));
    await check(page, "evil");
    await page.context().close();
  },

  async "names, titles and links of mapped records are shown, and only links of the web"() {
    for (const [name, options] of [
      ["light", {}],
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 360, height: 800 } }],
    ]) {
      const page = await tab(options);
      await page.goto(`${base}/?type=signin,mail`);
      const row = page.locator("table.employees tbody tr", { hasText: "447770" });
      assert.equal(await row.locator(".person").textContent(), "Ada Berg");
      await check(page, `people-${name}`);
      // Markup and characters that change the direction are shown as text.
      const people = (await page.locator(".person").allTextContents()).join();
      assert.ok(people.includes("<b>Elena</b> Fischer") && people.includes("Ines \ufffdJensen"));
      await row.locator("a").click();
      await page.waitForSelector("h1 .person");
      assert.match(await page.title(), /^Employee 447770 \(Ada Berg\)/);
      const link = page.locator(".incidents a", { hasText: "Impersonation of an executive" });
      assert.equal(
        await link.getAttribute("href"),
        "https://mail-filter.example/alerts/M-1",
      );
      assert.equal(await link.getAttribute("rel"), "noopener noreferrer nofollow");
      assert.match(await page.textContent(".incidents"), /actor\.alternateId Ada\.Berg@CORP/);
      await check(page, `titles-${name}`);
      await page.goto(`${base}/employees/771676?type=mail`);
      // One title has a link that is none of the web, one is very long.
      const hrefs = await page
        .locator(".incidents a")
        .evaluateAll((links) => links.map((each) => each.href));
      assert.deepEqual(hrefs, ["http://mail-filter.example/?a=1&b=%222%22"]);
      assert.match(await page.textContent(".incidents"), /Look here.*javascript:alert\(1\)/s);
      await check(page, `long-title-${name}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
      await page.context().close();
    }
  },

  async "new incidents appear without a reload, and the focus stays"() {
    const page = await tab();
    await page.goto(base);
    await page.waitForTimeout(500);
    await page.locator("table.employees tbody a").first().focus();
    await page.evaluate(() => {
      globalThis.sameDocument = true;
    });
    add("misuse", { employee_id: "just-now", priority: "critical", timestamp: Date.now() / 1000 });
    await page.waitForSelector("table.employees tbody tr:first-child a:has-text('just-now')", {
      timeout: 15000,
    });
    assert.match(await page.textContent("#announce"), /1 new record/);
    assert.ok(await page.evaluate(() => globalThis.sameDocument), "the page was not loaded again");
    assert.ok(
      await page.evaluate(() => document.activeElement.matches("table.employees a")),
      "the focus stays",
    );
    await page.screenshot({ path: join(shots, "live.png") });
    await page.context().close();
  },

  async "what a source drops goes on in the history"() {
    const page = await tab();
    await page.goto(`${base}/employees/just-now`);
    assert.equal(await page.locator(".panel .chart").count(), 1);
    assert.match(await page.textContent(".history"), /newest first: none/);
    await page.evaluate(() => {
      globalThis.sameDocument = true;
    });
    drop("misuse", "just-now");
    await page.waitForSelector(".history table.incidents tbody tr", { timeout: 30000 });
    assert.ok(await page.evaluate(() => globalThis.sameDocument), "the page was not loaded again");
    for (const [name, options] of [
      ["light", {}],
      ["dark", { colorScheme: "dark" }],
      ["narrow", { viewport: { width: 360, height: 800 } }],
    ]) {
      const each = await tab(options);
      assert.equal((await each.goto(`${proxy}/employees/just-now`)).status(), 200);
      assert.match(await each.textContent("main"), /No source lists an incident of this employee/);
      assert.match(await each.textContent(".history .seen"), /first 20\d\d-.*last 20\d\d-/s);
      await each.click("summary");
      await check(each, `history-${name}`);
      const wide = await each.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name} is ${wide} px too wide`);
      await each.click("text=The whole history as JSON");
      assert.match(each.url(), /\/gateway\/history\?employee_id=just-now/);
      assert.match(await each.textContent("body"), /"current":false/);
      await each.context().close();
    }
    await page.context().close();
  },

  async "a source that fails is named at once"() {
    const page = await tab();
    await page.goto(base);
    await page.waitForTimeout(500);
    failing.add("probing");
    await page.waitForSelector(".freshness.stale", { timeout: 15000 });
    assert.match(await page.textContent(".freshness"), /probing could not be refreshed/);
    await check(page, "stale");
    failing.delete("probing");
    await page.waitForSelector(".freshness.complete", { timeout: 30000 });
    await page.context().close();
  },

  async "the gateway stops although a page listens to its events"() {
    const page = await tab();
    await page.goto(base);
    await page.waitForTimeout(500);
    const stopped = new Promise((done) => gateway.once("exit", done));
    gateway.kill("SIGTERM");
    const late = setTimeout(() => gateway.kill("SIGKILL"), 8000);
    assert.equal(await stopped, 0);
    clearTimeout(late);
    await page.context().close();
    // The script's own attempts to come back fail now, as they must.
    complaints.splice(
      0,
      complaints.length,
      ...complaints.filter((text) => !/ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED)/.test(text)),
    );
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    assert.deepEqual(complaints, []);
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
    complaints.length = 0;
  }
}
if (failed > 0) console.log(log.slice(-20).join(""));
gateway.kill("SIGKILL");
await browser.close();
rmSync(folder, { recursive: true });
upstream.closeAllConnections();
upstream.close();
proxyServer.closeAllConnections();
proxyServer.close();
process.exitCode = failed > 0 ? 1 : 0;
