// The pages of a gateway with access control in Chromium: a browser signs in with Basic auth, and a
// caller who may see one employee gets a page of that employee. The data is the demo's.
//
// usage: node sign_in.mjs GATEWAY-BINARY TOOLS-FOLDER
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [binary, tools] = process.argv.slice(2).map((path) => resolve(path));
const require = createRequire(join(tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const shots = join(tools, "screenshots");
mkdirSync(shots, { recursive: true });

const EMPLOYEE = "447770"; // of the demo
const folder = mkdtempSync(join(tmpdir(), "sign-in-"));
const write = (name, text) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const digest = createHash("sha256").update("own-token").digest("hex");
// bcrypt of `secret`
const users = write("users", "ada:$2y$05$jmcyltXS4rv35gmfX4xlo.SvTjbWN1LkV2w1H8REgdi7sXq.V19M2\n");
const tokens = write("tokens", `own:${digest}:self=${EMPLOYEE}\n`);
const config = write("config.yaml", `auth: { users_file: ${users}, tokens_file: ${tokens} }\n`);

const freePort = () =>
  new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
const port = await freePort();
const base = `http://127.0.0.1:${port}`;
const listen = ["--listen", `127.0.0.1:${port}`, "--admin-listen", `127.0.0.1:${await freePort()}`];
const gateway = spawn(binary, ["serve", "--demo", "--config", config, ...listen], {
  stdio: ["ignore", "ignore", "ignore"],
});
const bearer = { authorization: "Bearer own-token" };

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const check = async (page, name) => {
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], name);
};

/** A tab whose errors are collected: failed requests, and what the console says. */
const tab = async (options) => {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const page = await context.newPage();
  const faults = [];
  const paths = new Set();
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("response", (response) => {
    paths.add(new URL(response.url()).pathname);
    if (response.status() >= 400) faults.push(`${response.status()} ${response.url()}`);
  });
  return { page, faults, paths };
};

try {
  let complete = false;
  for (let attempt = 0; attempt < 150 && !complete; attempt += 1) {
    await new Promise((done) => setTimeout(done, 200));
    const answer = await fetch(`${base}/summary?complete=true`, { headers: bearer }).catch(() => null);
    complete = answer?.status === 200;
  }
  assert.ok(complete, "the gateway did not become complete");
  const stranger = await fetch(base, { headers: { accept: "text/html" } });
  assert.equal(stranger.status, 401);
  assert.match(stranger.headers.get("www-authenticate"), /Basic .*charset="UTF-8"/);

  const asked = ["/", "/assets/page.css", "/assets/page.js", "/events"];
  const everything = await tab({ httpCredentials: { username: "ada", password: "secret" } });
  for (const visit of [() => everything.page.goto(base), () => everything.page.reload()]) {
    everything.paths.clear();
    await visit();
    await everything.page.waitForSelector(".employees tbody tr:nth-child(50)");
    await everything.page.waitForTimeout(500); // for the script and its stream
    for (const path of asked) assert.ok(everything.paths.has(path), `${path} was not asked for`);
  }
  assert.equal(await everything.page.locator("#unattributed-title").count(), 1);
  assert.deepEqual(everything.faults, []);
  await check(everything.page, "signed-in");

  const own = await tab({ extraHTTPHeaders: bearer });
  await own.page.goto(base);
  await own.page.waitForTimeout(500);
  for (const path of asked) assert.ok(own.paths.has(path), `${path} was not asked for`);
  assert.equal(await own.page.locator(".employees tbody tr").count(), 1);
  assert.equal(await own.page.getByText(/unattributed|records/i).count(), 0);
  await check(own.page, "one-employee");
  await own.page.click(`.employees a:has-text("${EMPLOYEE}")`);
  await own.page.waitForSelector("h1 .id");
  await check(own.page, "one-employee-incidents");
  await own.page.click("text=Overview");
  await own.page.waitForSelector(".employees");
  assert.deepEqual(own.faults, []);
  console.log("ok signed-in browsers see what their scope permits");
} catch (error) {
  console.log(`FAILED signed-in browsers see what their scope permits\n${error.stack}`);
  process.exitCode = 1;
} finally {
  gateway.kill("SIGKILL");
  await browser.close();
  rmSync(folder, { recursive: true });
}
