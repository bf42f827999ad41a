// The check in a browser: serves its page where the gateway allows web pages to come from (WEB_ORIGIN), and the same from another
// port, opens it in a headless Chromium (CHROME), and does for it what pages cannot. Runs beside a gateway (with_gateway).

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { build } from "esbuild";
import { cut, expected, post } from "./gateway.ts";

const gateway = `http://${process.env["GRPC_ADDR"]}`;
const bundled = await build({
  entryPoints: ["checks/page.ts", "checks/stranger.ts", "browser.ts"],
  outdir: "/",
  entryNames: "[name]",
  bundle: true,
  format: "esm",
  write: false,
});
const files = new Map(bundled.outputFiles.map(({ path, text }) => [path, ["text/javascript", text]]));
for (const page of ["page", "stranger"]) {
  files.set(`/${page}.html`, ["text/html", `<!doctype html><body><script type="module" src="${page}.js"></script>`]);
}
files.set("/browser.html", ["text/html", readFileSync("browser.html", "utf8")]);

const { promise: result, resolve: finish } = Promise.withResolvers<string>();
let strange = "";
const commands: Record<string, (body: any) => unknown> = {
  "/world": () => ({ gateway, expected, strange }),
  "/post": post,
  "/cut": async () => (await cut(), "cut"),
  "/result": (said) => (finish(said), "heard"),
};

const serve: RequestListener = async (request, response) => {
  const { pathname } = new URL(request.url!, "http://localhost");
  const [type, content] = files.get(pathname) ?? [];
  try {
    if (request.method === "POST") {
      const answer = await commands[pathname]!(JSON.parse(await text(request)));
      response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
    } else {
      response.writeHead(content ? 200 : 404, { "content-type": type ?? "text/plain" }).end(content);
    }
  } catch (error) {
    response.writeHead(500).end(`${error}`);
  }
};

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

const origin = process.env["WEB_ORIGIN"]!;
const servers = [createServer(serve), createServer(serve)];
await listen(servers[0]!, Number(new URL(origin).port));
const port = await listen(servers[1]!, 0);
strange = `http://127.0.0.1:${port}/stranger.html?gateway=${encodeURIComponent(gateway)}`;

const profile = mkdtempSync(join(tmpdir(), "chromium-"));
const flags = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", `--user-data-dir=${profile}`];
if (process.getuid!() === 0) flags.push("--no-sandbox"); // Chromium has no sandbox for root
const chromium = spawn(process.env["CHROME"]!, [...flags, "--enable-logging=stderr", `${origin}/page.html`], {
  stdio: ["ignore", "ignore", "pipe"],
});
const log = text(chromium.stderr);
const ended = new Promise<string>((resolve) => chromium.once("close", (code) => resolve(`Chromium ended with ${code}`)));
const late = setTimeout(() => finish("the page does not come to an end"), 240_000);
const said = await Promise.race([result, ended]);
clearTimeout(late);
chromium.kill();
await ended;
for (const server of servers) {
  server.close();
  server.closeAllConnections();
}
rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
if (said !== "ok") {
  console.error(`${said}\nChromium said:\n${await log}`);
  process.exit(1);
}
