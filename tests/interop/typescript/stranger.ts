// A page of an origin that the gateway does not allow: what it can do is told to the page around it.

import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { EventService } from "../gen/verbex/gateway/v1/event_service_pb.js";

const baseUrl = new URLSearchParams(location.search).get("gateway")!;
let messages = 0;
let failed = false;
try {
  for await (const _ of createClient(EventService, createGrpcWebTransport({ baseUrl })).subscribe({})) {
    messages += 1;
    break;
  }
} catch {
  failed = true;
}
// The gateway is there all the same: what is sent without wanting to read the answer arrives.
const reached = await fetch(baseUrl, { mode: "no-cors" }).then(({ type }) => type === "opaque");
parent.postMessage({ messages, failed, reached }, "*");
