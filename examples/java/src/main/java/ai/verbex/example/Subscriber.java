package ai.verbex.example;

import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.SYNC;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import ai.verbex.gateway.v1.Event;
import ai.verbex.gateway.v1.EventServiceGrpc;
import ai.verbex.gateway.v1.StartPosition;
import ai.verbex.gateway.v1.SubscribeRequest;
import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.protobuf.util.Durations;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A subscriber that handles each event, and resumes where it stopped after any interruption. With a JDK of 17 or
 * later and Maven, in the folder of pom.xml:
 *
 * <pre>
 * mvn package
 * java -jar target/subscriber.jar 127.0.0.1:50051
 * </pre>
 *
 * Change work(), the request, and where it begins the first time. In a project of your own, pom.xml says where the protos are.
 */
public final class Subscriber {
    private static final Path CURSOR = Path.of("calls.cursor");
    /** Reasons that pass by waiting. docs/api.md says what to do about the others. */
    private static final Set<String> PASSES =
            Set.of("DRAINING", "LOG_UNAVAILABLE", "SUBSCRIBER_LIMIT", "REQUEST_LIMIT", "REQUEST_TIMEOUT", "INTERNAL", "DEADLINE_EXCEEDED");
    /** Without a reason the connection broke, or somebody else answered: these are no gateway's, or a proxy's that wants a token. */
    private static final Set<Code> ELSEWHERE = Set.of(Code.UNIMPLEMENTED, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED);

    /** The gateway sends a message at least every 30 s. After 60 s without one the connection is dead, also behind a proxy. */
    private static final long SILENCE_SECONDS = 60;

    private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(task -> {
        var thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });
    private final ManagedChannel channel;
    private final CountDownLatch stop = new CountDownLatch(1);
    private int failures = 0;

    private Subscriber(String address) {
        channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    }

    /** Must be repeatable by event.getId(): an event comes again if the program dies between the work and the saving of its cursor. */
    private void work(Event event) throws IOException {
        System.out.println(event.getSequence() + " " + event.getCallId() + " " + event.getEventName() + " " + event.getStatus());
        if (System.out.checkError()) {
            throw new IOException("cannot print");
        }
    }

    private void save(String cursor) throws IOException {
        var draft = Path.of(CURSOR + ".new");
        Files.writeString(draft, cursor, CREATE, TRUNCATE_EXISTING, WRITE, SYNC);
        Files.move(draft, CURSOR, ATOMIC_MOVE);
    }

    private void follow() throws Exception {
        var request = SubscribeRequest.newBuilder().setSubscriberName("example");
        if (Files.exists(CURSOR)) {
            request.setAfterCursor(Files.readString(CURSOR));
        } else {
            request.setStartPosition(StartPosition.START_POSITION_EARLIEST);
        }
        try (var call = Context.current().withCancellation()) { // ends the stream, whatever ends this
            var messages = call.wrap(() -> EventServiceGrpc.newBlockingStub(channel).subscribe(request.build())).call();
            var silence = clock.schedule(() -> call.cancel(null), SILENCE_SECONDS, TimeUnit.SECONDS);
            for (boolean first = true; messages.hasNext(); first = false) {
                silence.cancel(false); // the work may take its time
                var message = messages.next();
                if (message.hasEvent()) {
                    work(message.getEvent()); // first the work …
                }
                save(message.getCursor()); // … then the cursor
                if (!first) {
                    failures = 0; // the first says only that the stream is open
                }
                silence = clock.schedule(() -> call.cancel(null), SILENCE_SECONDS, TimeUnit.SECONDS);
            }
        }
    }

    /** The exit code: 0 when told to stop, 1 when waiting does not help. What work() throws ends it too, before its cursor is saved. */
    private int run() throws Exception {
        long pause = 0;
        while (!stop.await(pause, TimeUnit.MILLISECONDS)) {
            long asked = 0;
            try {
                follow();
            } catch (StatusRuntimeException error) {
                if (stop.getCount() == 0) {
                    break;
                }
                var reason = detail(error, ErrorInfo.class).map(ErrorInfo::getReason);
                System.err.println(reason.orElse("no reason") + ": " + error.getMessage());
                if (reason.map(known -> !PASSES.contains(known)).orElse(ELSEWHERE.contains(error.getStatus().getCode()))) {
                    return 1;
                }
                asked = detail(error, RetryInfo.class).map(retry -> Durations.toMillis(retry.getRetryDelay())).orElse(0L);
            }
            long longest = Math.min(1000L << Math.min(failures++, 5), 30_000);
            pause = Math.max(asked, ThreadLocalRandom.current().nextLong(longest / 2, longest));
        }
        return 0;
    }

    private static <T extends Message> Optional<T> detail(StatusRuntimeException error, Class<T> type) throws IOException {
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(type)) {
                return Optional.of(detail.unpack(type));
            }
        }
        return Optional.empty();
    }

    public static void main(String[] args) throws Exception {
        var subscriber = new Subscriber(args.length > 0 ? args[0] : "127.0.0.1:50051");
        var main = Thread.currentThread();
        var status = new AtomicInteger(1);
        // On SIGINT, on SIGTERM, and at any other end: the work at hand is finished, and its cursor saved.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            subscriber.stop.countDown();
            subscriber.channel.shutdownNow();
            try {
                main.join();
            } catch (InterruptedException ignored) {
                // Nobody interrupts it.
            }
            Runtime.getRuntime().halt(status.get()); // else a signal's end would count as a failure
        }));
        status.set(subscriber.run());
    }
}
