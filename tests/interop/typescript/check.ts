// What a subscriber in TypeScript can rely on, in Node and in a browser: the same steps over either transport.

import { toJson } from "@bufbuild/protobuf";
import { type CallOptions, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { AdminService } from "../gen/verbex/gateway/v1/admin_service_pb.js";
import { type Event, EventSchema } from "../gen/verbex/gateway/v1/event_pb.js";
import {
  EventService,
  StartPosition,
  type SubscribeRequest,
  type SubscribeResponse,
  SubscriptionState,
} from "../gen/verbex/gateway/v1/event_service_pb.js";

/** What the gateway answered to a webhook. */
export type Stored = { id: string; sequence: string; duplicate: boolean };

/** The world outside of the client. */
export type World = {
  transport: Transport;
  /** What every language must read of the samples, by the sample's name. */
  expected: Record<string, Record<string, unknown>>;
  /** What the transport makes of a connection that breaks: one of these codes. */
  broken: Code[];
  /** Posts a sample, by its name, or any other body. */
  post(what: string | object): Promise<Stored>;
  /** Kills the gateway; it is back on the same ports when this is over. */
  cut(): Promise<void>;
};

const SAMPLES = ["call_started", "call_transferred", "call_ended", "pca_completed"];

type Start = SubscribeRequest["start"];
const EARLIEST: Start = { case: "startPosition", value: StartPosition.EARLIEST };

export async function check(world: World) {
  const events = createClient(EventService, world.transport);
  const admin = createClient(AdminService, world.transport);
  const filter = { agentIds: SAMPLES.map((sample) => String(world.expected[sample]!["agentId"])) };
  const subscribe = (start: Start, subscriberName = "", timeoutMs?: number) => {
    const request = { filter, start, subscriberName, progressInterval: { seconds: 1n, nanos: 0 } };
    return new Reader((options) => events.subscribe(request, options), timeoutMs);
  };

  const stored: Stored[] = [];
  for (const sample of SAMPLES) {
    stored.push(await world.post(sample));
    await world.post({ eventName: "CallHandler.CallStarted", call_id: `beside ${sample}`, agent_id: "another" });
  }

  // The samples, exactly, and nothing that the filter leaves out.
  const stream = subscribe(EARLIEST);
  equal((await stream.next()).response.case, "progress", "the first message");
  for (const [index, sample] of SAMPLES.entries()) {
    sameEvent(await stream.event(), world.expected[sample]!, stored[index]!);
  }
  await stream.live();

  // Cut off, then on from the last cursor.
  const [error] = await Promise.all([failure(stream.toTheEnd()), world.cut()]);
  equal(world.broken.includes(error.code), true, `a code of a broken connection, ${error.message}`);
  equal(error.findDetails(ErrorInfoSchema).length, 0, "reasons of a broken connection");
  const later = { eventName: "CallHandler.CallEnded", call_id: "later", agent_id: filter.agentIds[0]! };
  const laterStored = await world.post(later);
  const resumed = subscribe({ case: "afterCursor", value: stream.cursor });
  equal((await resumed.next()).response.case, "progress", "the first message after a resume");
  const event = await resumed.event();
  equal([event.id, event.sequence, event.callId], [laterStored.id, BigInt(laterStored.sequence), "later"], "the event after a resume");
  await resumed.live();
  resumed.cancel();

  // A reason to decide by.
  const refused = await failure(subscribe({ case: "afterCursor", value: "nonsense" }).toTheEnd());
  equal(Code[refused.code], Code[Code.InvalidArgument], "the code of a bad cursor");
  const reasons = refused.findDetails(ErrorInfoSchema).map(({ reason, domain }) => [reason, domain]);
  equal(reasons, [["CURSOR_INVALID", "verbex.gateway"]], "the reason of a bad cursor");

  // A deadline, on a stream that has nothing more to say.
  const timed = subscribe(EARLIEST, "", 3000);
  const late = await failure(timed.toTheEnd());
  equal(Code[late.code], Code[Code.DeadlineExceeded], `the code of a deadline (${late.message})`);
  equal(timed.events, SAMPLES.length + 1, "events before the deadline");

  // A cancel, which the gateway hears of.
  const name = "to be cancelled";
  const names = async () => (await admin.listSubscribers({})).subscribers.map((subscriber) => subscriber.name);
  const open = subscribe(EARLIEST, name);
  await open.live();
  equal((await names()).includes(name), true, "an open stream is listed");
  open.cancel();
  const cancelled = await failure(open.toTheEnd());
  equal(Code[cancelled.code], Code[Code.Canceled], "the code of a cancel");
  for (const end = Date.now() + 20_000; (await names()).includes(name); ) {
    equal(Date.now() < end, true, "a cancelled stream is soon gone");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A stream, message by message, with the last cursor. */
class Reader {
  cursor = "";
  events = 0;
  readonly #controller = new AbortController();
  readonly #messages: AsyncIterator<SubscribeResponse>;

  constructor(subscribe: (options: CallOptions) => AsyncIterable<SubscribeResponse>, timeoutMs?: number) {
    this.#messages = subscribe({ signal: this.#controller.signal, timeoutMs })[Symbol.asyncIterator]();
  }

  async next(): Promise<SubscribeResponse> {
    const { done, value } = await this.#messages.next();
    if (done) throw new Error("the stream ended as if it had an end");
    this.cursor = value.cursor;
    if (value.response.case === "event") this.events += 1;
    return value;
  }

  /** The next event, whatever progress comes before it. */
  async event(): Promise<Event> {
    for (;;) {
      const { response } = await this.next();
      if (response.case === "event") return response.value;
      equal(response.case, "progress", "a message before the event");
    }
  }

  /** Reads until the subscription says that it has all there is. */
  async live() {
    for (;;) {
      const { response } = await this.next();
      if (response.case === "progress" && response.value.state === SubscriptionState.LIVE) return;
    }
  }

  async toTheEnd(): Promise<never> {
    for (;;) await this.next();
  }

  /** Ends the stream: to leave its loop alone would not. */
  cancel() {
    this.#controller.abort();
  }
}

function sameEvent(event: Event, expected: Record<string, unknown>, { id, sequence }: Stored) {
  const found = toJson(EventSchema, event) as Record<string, unknown>;
  equal([found["id"], found["sequence"], event.sequence], [id, sequence, BigInt(sequence)], "id and sequence");
  equal(typeof found["receiveTime"], "string", "a time of receipt");
  const rest: Record<string, unknown> = { eventTime: found["receiveTime"], ...expected };
  equal(found, { ...rest, id, sequence, receiveTime: found["receiveTime"] }, "the event");
}

async function failure(ending: Promise<never>): Promise<ConnectError> {
  return ending.catch((error: unknown) => {
    if (error instanceof ConnectError) return error;
    throw error;
  });
}

/** Like Node's deepStrictEqual, which browsers have not: by text, whatever the order of keys. */
function equal(found: unknown, expected: unknown, what: string) {
  const [left, right] = [text(found), text(expected)];
  if (left !== right) throw new Error(`${what}: expected ${right}, found ${left}`);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (typeof part === "bigint") return `${part}n`;
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort());
  });
}
