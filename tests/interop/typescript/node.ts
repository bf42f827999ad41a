// The check in Node, over gRPC. Runs beside a gateway (with_gateway).

import { Code } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { check } from "./check.ts";
import { cut, expected, post } from "./gateway.ts";

const transport = createGrpcTransport({ baseUrl: `http://${process.env["GRPC_ADDR"]}` });
// Node ends a stream whose connection was closed with CANCEL, and one whose connection was reset with an error of its own.
await check({ transport, expected, broken: [Code.Canceled, Code.Aborted], post, cut });
