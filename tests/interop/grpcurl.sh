#!/usr/bin/env bash
# What grpcurl users see: services without protos at hand, comments, samples in canonical JSON, and errors with their details.
# Runs beside a gateway (with_gateway); GRPCURL is the program.
set -euo pipefail

ask() { "$GRPCURL" -plaintext "$@"; }

# expect WHAT TEXT: TEXT stands in the standard input.
expect() {
    local input
    input=$(cat)
    [[ $input == *"$2"* ]] || { printf 'expected %s: %s\nin:\n%s\n' "$1" "$2" "$input" >&2; exit 1; }
}

listed=$(ask "$GRPC_ADDR" list)
for service in grpc.health.v1.Health grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection \
    verbex.gateway.v1.AdminService verbex.gateway.v1.EventService; do
    expect 'a service' "$service" <<<"$listed"
done
ask "$GRPC_ADDR" describe verbex.gateway.v1.Event | expect 'a comment' '//'
ask "$GRPC_ADDR" grpc.health.v1.Health/Check | expect 'health' '"SERVING"'

for sample in call_started call_transferred call_ended pca_completed; do
    curl --silent --show-error --fail --cacert "$CA" -H 'content-type: application/json' \
        --data-binary "@$SAMPLES/$sample.json" "$WEBHOOK_URL" | expect 'an answer' '"duplicate":false'
done

# It would go on for ever: grpcurl ends it, after what there was.
streamed=$(ask -max-time 2 -d '{"start_position": "START_POSITION_EARLIEST"}' "$GRPC_ADDR" verbex.gateway.v1.EventService/Subscribe 2>&1 || true)
for text in '"type": "EVENT_TYPE_CALL_STARTED"' '"eventTime": "2026-04-27T12:53:25.241195387Z"' '"transferTo": "sip:01751373839@115.127.146.155"' \
    '"durationSeconds": 45.621591' '"callEndTime": "2026-01-28T12:34:23.097263Z"' '"pcaTime": "2026-04-27T12:56:59.200Z"' \
    'SUBSCRIPTION_STATE_LIVE' 'Code: DeadlineExceeded'; do
    expect 'in the stream' "$text" <<<"$streamed"
done

refused=$(ask -d '{"id": "none"}' "$GRPC_ADDR" verbex.gateway.v1.EventService/GetEvent 2>&1 || true)
for text in 'Code: NotFound' 'google.rpc.ErrorInfo' '"reason": "EVENT_NOT_FOUND"' '"domain": "verbex.gateway"'; do
    expect 'in the error' "$text" <<<"$refused"
done
