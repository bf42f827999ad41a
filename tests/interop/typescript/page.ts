// The check in a web page, over gRPC-Web. What a page cannot do itself, it asks of the server that it comes from.

import { Code, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { check } from "./check.ts";

async function ask(path: string, body: unknown = null) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

/** A subscriber that people would copy: it shows every event once, also those of a time when the gateway was gone. */
async function example(gateway: string) {
  const frame = document.createElement("iframe");
  const shown = () => [...frame.contentDocument!.querySelectorAll("#events li")].map((item) => item.textContent!.split(" ")[0]);
  const expected: string[] = [];
  const load = async () => {
    const loaded = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
    frame.src = `/browser.html?gateway=${encodeURIComponent(gateway)}`;
    document.body.append(frame);
    await loaded;
  };
  const post = async () => {
    const { sequence } = await ask("/post", { eventName: "CallHandler.CallEnded", call_id: `${Math.random()}` });
    expected.push(sequence);
  };
  const same = async (what: string) => {
    for (const end = Date.now() + 60_000; shown().at(-1) !== expected.at(-1); ) {
      if (Date.now() > end) throw new Error(`${what}: expected ${expected}, found ${shown()}; ${frame.contentDocument!.body.innerText}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (`${shown()}` !== `${expected}`) throw new Error(`${what}: expected ${expected}, found ${shown()}`);
  };

  await load();
  await post(); // the log holds older events, which a page without a cursor shows too
  for (const end = Date.now() + 60_000; shown().at(-1) !== expected[0]; ) {
    if (Date.now() > end) throw new Error(`the example page shows ${frame.contentDocument!.body.innerText}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expected.splice(0, 1, ...(shown() as string[]));
  await ask("/cut");
  await post();
  await same("the page after a cut");

  frame.remove();
  expected.length = 0;
  await post();
  await load();
  await same("the page when it is loaded again");
}

/** A page of an origin that the gateway does not allow reads nothing, though it can send. */
async function stranger(url: string) {
  const said = new Promise<MessageEvent>((resolve) => addEventListener("message", resolve, { once: true }));
  const frame = document.createElement("iframe");
  frame.src = url;
  document.body.append(frame);
  const { data } = await said;
  const refused = data.reached === true && data.messages === 0 && data.failed === true;
  if (!refused) throw new Error(`a page of another origin: ${JSON.stringify(data)}`);
}

try {
  const { gateway, expected, strange } = await ask("/world");
  const transport: Transport = createGrpcWebTransport({ baseUrl: gateway });
  const post = (what: string | object) => ask("/post", what);
  const cut = () => ask("/cut");
  // A browser says only that there was a network error.
  await check({ transport, expected, broken: [Code.Unknown], post, cut });
  await stranger(strange);
  await example(gateway);
  await ask("/result", "ok");
} catch (error) {
  await ask("/result", error instanceof Error ? `${error.message}\n${error.stack}` : `${error}`);
}
