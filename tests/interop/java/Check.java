import ai.verbex.gateway.v1.AdminServiceGrpc;
import ai.verbex.gateway.v1.Event;
import ai.verbex.gateway.v1.EventFilter;
import ai.verbex.gateway.v1.EventServiceGrpc;
import ai.verbex.gateway.v1.ListSubscribersRequest;
import ai.verbex.gateway.v1.StartPosition;
import ai.verbex.gateway.v1.SubscribeRequest;
import ai.verbex.gateway.v1.SubscribeResponse;
import ai.verbex.gateway.v1.Subscriber;
import ai.verbex.gateway.v1.SubscriptionState;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorInfo;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** What a subscriber in Java can rely on. Runs beside a gateway (with_gateway), with the example's stubs and libraries. */
public final class Check {
    private static final List<String> SAMPLES = List.of("call_started", "call_transferred", "call_ended", "pca_completed");

    public static void main(String[] args) throws Exception {
        var expected = JsonParser.parseString(Files.readString(Path.of(System.getenv("EXPECTED")))).getAsJsonObject();
        var filter = EventFilter.newBuilder();
        for (var sample : SAMPLES) {
            filter.addAgentIds(expected.getAsJsonObject(sample).get("agentId").getAsString());
        }
        var base = SubscribeRequest.newBuilder().setFilter(filter).setProgressInterval(Durations.fromSeconds(1)).build();
        var earliest = base.toBuilder().setStartPosition(StartPosition.START_POSITION_EARLIEST).build();

        var stored = new ArrayList<JsonObject>();
        for (var sample : SAMPLES) {
            stored.add(post(Files.readString(Path.of(System.getenv("SAMPLES"), sample + ".json"))));
            post(ended("beside " + sample, "another"));
        }

        var channel = Grpc.newChannelBuilder(System.getenv("GRPC_ADDR"), InsecureChannelCredentials.create()).build();
        var events = EventServiceGrpc.newBlockingStub(channel);
        var admin = AdminServiceGrpc.newBlockingStub(channel);

        // The samples, exactly, and nothing that the filter leaves out.
        var stream = new Reader(events.subscribe(earliest));
        equal("the first message is a progress", stream.next().hasProgress(), true);
        for (int i = 0; i < SAMPLES.size(); i++) {
            sameEvent(stream.event(), expected.getAsJsonObject(SAMPLES.get(i)), stored.get(i));
        }
        stream.live();

        // Cut off, then on from the last cursor.
        run("cut_off");
        var broken = stream.failure();
        equal("the code of a broken connection: " + broken, broken.getStatus().getCode(), Status.Code.UNAVAILABLE);
        equal("the reasons of a broken connection", reasons(broken), List.of());
        var later = post(ended("later", filter.getAgentIds(0)));
        try (var context = Context.current().withCancellation()) {
            var resumed = new Reader(context.wrap(() -> events.subscribe(after(base, stream.cursor))).call());
            equal("the first message after a resume is a progress", resumed.next().hasProgress(), true);
            var event = resumed.event();
            equal("the event after a resume", List.of(event.getId(), event.getSequence(), event.getCallId()),
                    List.of(later.get("id").getAsString(), later.get("sequence").getAsLong(), "later"));
            resumed.live();
            equal("events after a resume", resumed.events, 1);
        }

        // A reason to decide by.
        var refused = new Reader(events.subscribe(after(base, "nonsense"))).failure();
        equal("the code of a bad cursor", refused.getStatus().getCode(), Status.Code.INVALID_ARGUMENT);
        equal("the reason of a bad cursor", reasons(refused), List.of("CURSOR_INVALID verbex.gateway"));

        // A deadline, on a stream that has nothing more to say.
        var timed = new Reader(events.withDeadlineAfter(3, TimeUnit.SECONDS).subscribe(earliest));
        var late = timed.failure();
        equal("the code of a deadline: " + late, late.getStatus().getCode(), Status.Code.DEADLINE_EXCEEDED);
        equal("events before the deadline", timed.events, SAMPLES.size() + 1);

        // A cancel, which the gateway hears of.
        var name = "to be cancelled";
        var context = Context.current().withCancellation();
        var open = new Reader(context.wrap(() -> events.subscribe(earliest.toBuilder().setSubscriberName(name).build())).call());
        open.live();
        equal("an open stream is listed", names(admin).contains(name), true);
        context.cancel(null);
        equal("the code of a cancel", open.failure().getStatus().getCode(), Status.Code.CANCELLED);
        for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(20); names(admin).contains(name);) {
            equal("a cancelled stream is soon gone", System.nanoTime() < end, true);
            Thread.sleep(50);
        }
        channel.shutdownNow();
    }

    /** A stream, message by message, with the last cursor. */
    private static final class Reader {
        private final Iterator<SubscribeResponse> messages;
        String cursor = "";
        int events = 0;

        Reader(Iterator<SubscribeResponse> messages) {
            this.messages = messages;
        }

        SubscribeResponse next() {
            var message = messages.next();
            cursor = message.getCursor();
            events += message.hasEvent() ? 1 : 0;
            return message;
        }

        /** The next event, whatever progress comes before it. */
        Event event() {
            for (;;) {
                var message = next();
                if (message.hasEvent()) {
                    return message.getEvent();
                }
                equal("a message before the event is a progress", message.hasProgress(), true);
            }
        }

        /** Reads until the subscription says that it has all there is. */
        void live() {
            while (next().getProgress().getState() != SubscriptionState.SUBSCRIPTION_STATE_LIVE) {
                // An event, or it is still catching up.
            }
        }

        StatusRuntimeException failure() {
            for (;;) {
                try {
                    next();
                } catch (StatusRuntimeException error) {
                    return error;
                }
            }
        }
    }

    private static SubscribeRequest after(SubscribeRequest base, String cursor) {
        return base.toBuilder().setAfterCursor(cursor).build();
    }

    private static void sameEvent(Event event, JsonObject expected, JsonObject stored) throws Exception {
        var found = JsonParser.parseString(JsonFormat.printer().print(event)).getAsJsonObject();
        equal("sequence", event.getSequence(), stored.get("sequence").getAsLong());
        equal("a time of receipt", event.getReceiveTime().getSeconds() > 0, true);
        var all = expected.deepCopy();
        all.add("id", stored.get("id"));
        all.add("sequence", stored.get("sequence"));
        all.add("receiveTime", found.get("receiveTime"));
        if (!all.has("eventTime")) {
            all.add("eventTime", found.get("receiveTime"));
        }
        equal("the event", found, all);
    }

    private static List<String> reasons(StatusRuntimeException error) throws Exception {
        var reasons = new ArrayList<String>();
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                var info = detail.unpack(ErrorInfo.class);
                reasons.add(info.getReason() + " " + info.getDomain());
            }
        }
        return reasons;
    }

    private static List<String> names(AdminServiceGrpc.AdminServiceBlockingStub admin) {
        var subscribers = admin.listSubscribers(ListSubscribersRequest.getDefaultInstance()).getSubscribersList();
        return subscribers.stream().map(Subscriber::getName).toList();
    }

    private static String ended(String call, String agent) {
        return "{\"eventName\":\"CallHandler.CallEnded\",\"call_id\":\"" + call + "\",\"agent_id\":\"" + agent + "\"}";
    }

    private static JsonObject post(String body) throws Exception {
        var file = Files.createTempFile("webhook", ".json");
        try {
            Files.writeString(file, body);
            return JsonParser.parseString(run("post", file.toString())).getAsJsonObject();
        } finally {
            Files.delete(file);
        }
    }

    /** Runs a command that with_gateway gives; its output. */
    private static String run(String... command) throws Exception {
        var process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        var output = new String(process.getInputStream().readAllBytes());
        equal(String.join(" ", command), process.waitFor(), 0);
        return output;
    }

    private static void equal(String what, Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError(what + ": expected " + expected + ", found " + found);
        }
    }
}
