// A web page that shows each event, and resumes where it stopped after any interruption. With Node, in this folder:
//
//     VERBEX_GATEWAY_GRPC_CORS_ALLOWED_ORIGINS=http://127.0.0.1:5173 verbex-gateway serve
//
//     npm ci
//     npx buf generate
//     npx esbuild browser.ts --bundle --format=esm --outdir=. --servedir=. --serve=127.0.0.1:5173
//
// and open http://127.0.0.1:5173/browser.html. For a gateway elsewhere add ?gateway=https://… to it. Change work(), the request, and
// where it begins the first time.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Event } from "./gen/verbex/gateway/v1/event_pb.js";
import { EventService, EventView, StartPosition } from "./gen/verbex/gateway/v1/event_service_pb.js";

const CURSOR = "calls.cursor";
// Reasons that pass by waiting. docs/api.md says what to do about the others.
const PASSES = ["DRAINING", "LOG_UNAVAILABLE", "SUBSCRIBER_LIMIT", "REQUEST_LIMIT", "REQUEST_TIMEOUT", "INTERNAL", "DEADLINE_EXCEEDED"];
// Without a reason the connection broke, or somebody else answered: these are no gateway's, or a proxy's that wants a token.
const ELSEWHERE = [Code.Unimplemented, Code.Unauthenticated, Code.PermissionDenied];
const PROGRESS_SECONDS = 15;

const baseUrl = new URLSearchParams(location.search).get("gateway") ?? "http://127.0.0.1:50051";
const gateway = createClient(EventService, createGrpcWebTransport({ baseUrl }));
let failures = 0;
// Read once: another tab may save its own meanwhile.
let place = localStorage.getItem(CURSOR);

// Must be safe to repeat, by event.id: an event comes again if the page is left before its cursor is saved.
async function work(event: Event) {
  const item = document.createElement("li");
  item.textContent = `${event.sequence} ${event.callId} ${event.eventName} ${event.status}`;
  document.querySelector("#events")!.append(item);
}

function show(state: string) {
  document.querySelector("#state")!.textContent = state;
}

async function follow() {
  const start =
    place === null
      ? ({ case: "startPosition", value: StartPosition.EARLIEST } as const)
      : ({ case: "afterCursor", value: place } as const);
  const progressInterval = { seconds: BigInt(PROGRESS_SECONDS), nanos: 0 };
  // A page sends no pings. Silence for two intervals means that the connection is dead.
  const over = new AbortController();
  const watch = () => setTimeout(() => over.abort(), 2000 * PROGRESS_SECONDS);
  let timer = watch();
  try {
    const request = { start, progressInterval, view: EventView.BASIC, subscriberName: "example page" };
    let messages = 0;
    for await (const { cursor, response } of gateway.subscribe(request, { signal: over.signal })) {
      clearTimeout(timer);
      show("connected");
      if (response.case === "event") await work(response.value); // first the work …
      localStorage.setItem(CURSOR, (place = cursor)); // … then the cursor
      if (++messages > 1) failures = 0; // the first says only that the stream is open
      timer = watch();
    }
  } finally {
    clearTimeout(timer);
    over.abort(); // leaving the loop does not end the stream
  }
}

for (;;) {
  try {
    await follow();
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error; // the work failed: its event comes again at the next start
    const reason = error.findDetails(ErrorInfoSchema)[0]?.reason;
    show(`${reason ?? "no reason"}: ${error.message}`);
    if (reason ? !PASSES.includes(reason) : ELSEWHERE.includes(error.code)) break;
  }
  const pause = Math.min(1000 * 2 ** failures++, 30_000) * (0.5 + Math.random() / 2);
  await new Promise((resolve) => setTimeout(resolve, pause));
}
