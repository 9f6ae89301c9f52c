// Whether a conforming client cache (RFC 9111) keeps the gateway's answers and uses them again: undici's, as a
// private cache. A response that comes from the cache has the request id of the one that was stored.
//
// usage: node tests/browser/client_cache.mjs URL TOOLS
import assert from "node:assert/strict";
import path from "node:path";
import { createRequire } from "node:module";

const [url, tools] = process.argv.slice(2);
const require = createRequire(path.resolve(tools, "package.json"));
const { Agent, interceptors, cacheStores, request } = require("undici");

const plain = new Agent();
const caching = plain.compose(
  interceptors.cache({ type: "private", store: new cacheStores.MemoryCacheStore(), methods: ["GET"] }),
);

async function get(target, dispatcher, headers = {}) {
  const { statusCode, headers: answer, body } = await request(url + target, { dispatcher, headers });
  return { statusCode, headers: answer, text: await body.text() };
}

// More than half of the ttl has passed: a cache that counted the age twice would keep nothing.
const { ttl } = await untilOld();
async function untilOld() {
  for (;;) {
    const { headers } = await get("/incidents", plain);
    const left = Number(/ttl=(-?\d+)/.exec(headers["cache-status"])?.[1]);
    if (Number(headers.age) > left && left >= 2) return { ttl: Number(headers.age) + left };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
assert.ok(ttl >= 5, `the ttl is ${ttl}`);

for (const target of ["/incidents", "/summary?priority=low", "/unattributed"]) {
  const first = await get(target, caching);
  assert.equal(first.statusCode, 200);
  const second = await get(target, caching);
  assert.equal(second.headers["x-request-id"], first.headers["x-request-id"], `${target} was not kept`);
  assert.equal(second.text, first.text);
  assert.ok(Number(second.headers.age) >= Number(first.headers.age));
}

// `Vary` names what decides: another format is another answer.
const csv = await get("/incidents", caching, { accept: "text/csv" });
assert.match(csv.headers["content-type"], /^text\/csv/);

// What is not to be kept is not kept.
const ids = new Set();
for (let i = 0; i < 2; i++) ids.add((await get("/sources", caching)).headers["x-request-id"]);
assert.equal(ids.size, 2);
console.log("client cache: kept and used again");
