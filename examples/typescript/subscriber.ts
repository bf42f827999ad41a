// A subscriber that handles each event, and resumes where it stopped after any interruption.
// With Node 22.18 or later, in this folder:
//
//     npm ci
//     npx buf generate
//     node subscriber.ts http://127.0.0.1:50051
//
// Change work(), the request, and where it begins the first time. In a project of your own, buf.gen.yaml says where the protos are.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import type { Event } from "./gen/verbex/gateway/v1/event_pb.js";
import { EventService, StartPosition } from "./gen/verbex/gateway/v1/event_service_pb.js";

const CURSOR = "calls.cursor";
// Reasons that pass by waiting. docs/api.md says what to do about the others.
const PASSES = ["DRAINING", "LOG_UNAVAILABLE", "SUBSCRIBER_LIMIT", "REQUEST_LIMIT", "REQUEST_TIMEOUT", "INTERNAL", "DEADLINE_EXCEEDED"];
// Without a reason the connection broke, or somebody else answered: these are no gateway's, or a proxy's that wants a token.
const ELSEWHERE = [Code.Unimplemented, Code.Unauthenticated, Code.PermissionDenied];

// The gateway sends a message at least every 30 s. After 60 s without one the connection is dead, also behind a proxy.
const SILENCE_MS = 60_000;

const transport = createGrpcTransport({ baseUrl: process.argv[2] ?? "http://127.0.0.1:50051" });
const gateway = createClient(EventService, transport);
const stop = new AbortController();
let failures = 0;

// Must be safe to repeat, by event.id: an event comes again if the program dies before its cursor is saved.
async function work(event: Event) {
  const line = `${event.sequence} ${event.callId} ${event.eventName} ${event.status}\n`;
  // Waits until it is written, and fails if it cannot be, which console.log would not.
  await new Promise<void>((done, fail) => process.stdout.write(line, (error) => (error ? fail(error) : done())));
}

function save(cursor: string) {
  writeFileSync(`${CURSOR}.new`, cursor, { flush: true });
  renameSync(`${CURSOR}.new`, CURSOR);
}

async function follow() {
  const start = existsSync(CURSOR)
    ? ({ case: "afterCursor", value: readFileSync(CURSOR, "utf8") } as const)
    : ({ case: "startPosition", value: StartPosition.EARLIEST } as const);
  const request = { start, subscriberName: "example" };
  const over = new AbortController(); // leaving the loop does not end the stream
  const signal = AbortSignal.any([stop.signal, over.signal]);
  const watch = () => setTimeout(() => over.abort(), SILENCE_MS);
  let timer = watch();
  let messages = 0;
  try {
    for await (const { cursor, response } of gateway.subscribe(request, { signal })) {
      clearTimeout(timer); // the work may take its time
      if (response.case === "event") await work(response.value); // first the work …
      save(cursor); // … then the cursor
      if (++messages > 1) failures = 0; // the first says only that the stream is open
      timer = watch();
    }
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());

while (!stop.signal.aborted) {
  let asked = 0;
  try {
    await follow();
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error; // the work failed: its event comes again at the next start
    if (stop.signal.aborted) break;
    const reason = error.findDetails(ErrorInfoSchema)[0]?.reason;
    console.error(`${reason ?? "no reason"}: ${error.message}`);
    if (reason ? !PASSES.includes(reason) : ELSEWHERE.includes(error.code)) process.exit(1);
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    asked = delay ? durationMs(delay) : 0;
  }
  const pause = Math.min(1000 * 2 ** failures++, 30_000) * (0.5 + Math.random() / 2);
  await sleep(Math.max(pause, asked), null, { signal: stop.signal }).catch(() => {});
}
