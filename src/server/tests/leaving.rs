//! What a door does between the beginning of a shutdown and its last connection.

use futures_util::FutureExt;

use super::{
    super::stream::{Seen, Stream},
    *,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Reads one answer on a connection that stays open. Returns its head in lower case.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return head.into();
            }
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert!(read.unwrap().unwrap() > 0, "no answer: {text}");
    }
}

#[tokio::test]
async fn while_it_leaves_it_serves_and_says_that_each_connection_closes() {
    let running = run(Config::default()).await;
    let mut kept = running.connect().await;
    kept.write_all(REQUEST).await.unwrap();
    assert!(!answer(&mut kept).await.contains("connection: close"));

    running.stop.leave();
    kept.write_all(REQUEST).await.unwrap();
    let told = read_all(&mut kept).await;
    assert!(told.contains("connection: close"), "{told}");
    let told = answer_to(&running, REQUEST).await;
    assert!(told.contains("connection: close"), "{told}");
    drop(kept);
    timeout(PATIENCE, running.stop.emptied()).await.unwrap();
    running.stopped().await;
}

#[tokio::test]
async fn while_it_leaves_http2_connections_end_behind_their_answers() {
    let running = run(Config::default()).await;
    running.stop.leave();
    let stream = running.connect().await;
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let url = format!("http://{}/", running.address);
    let request = Request::get(&url).body(Full::<Bytes>::default()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    // The client has not closed its side, so the server ends the connection, in order.
    timeout(PATIENCE, connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    drop(client);
    running.stopped().await;
}

#[tokio::test]
async fn a_request_of_which_a_part_has_come_is_answered_after_the_door_is_closed() {
    let running = run(Config::default()).await;
    // A new connection, and one on which another request came before.
    let mut streams = [running.connect().await, running.connect().await];
    streams[1].write_all(REQUEST).await.unwrap();
    answer(&mut streams[1]).await;
    let (part, rest) = REQUEST.split_at(10);
    for stream in &mut streams {
        stream.write_all(part).await.unwrap();
    }
    running.stop.close();
    // The door is closed when nobody can connect.
    while TcpStream::connect(running.address).await.is_ok() {}
    sleep(BEGINNING + ARRIVING * 100).await;
    for stream in &mut streams {
        stream.write_all(rest).await.unwrap();
        let told = read_all(stream).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    }
    timeout(PATIENCE, running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_ends_with_the_door_and_a_new_one_may_still_begin() {
    let running = run(Config::default()).await;
    let mut idle = running.connect().await;
    idle.write_all(REQUEST).await.unwrap();
    answer(&mut idle).await;
    let mut new = running.connect().await;
    running.stop.close();
    assert_eq!(read_all(&mut idle).await, "");
    new.write_all(REQUEST).await.unwrap();
    let told = read_all(&mut new).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    timeout(PATIENCE, running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_in_the_backlog_is_served() {
    let running = run(Config::default()).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = running.connect().await;
        stream.write_all(REQUEST).await.unwrap();
        waiting.push(stream);
    }
    running.stop.close();
    for mut stream in waiting {
        let told = read_all(&mut stream).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    }
    timeout(PATIENCE, running.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_that_outlives_the_door_keeps_who_waits_for_the_next_one() {
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    kept.set_nonblocking(true).unwrap();
    let address = kept.local_addr().unwrap();
    let socket = TcpListener::from_std(kept.try_clone().unwrap()).unwrap();
    let listener = Listener {
        socket,
        outlives: true,
    };
    let stop = Stop::default();
    stop.close();
    let mut client = TcpStream::connect(address).await.unwrap();
    let service = axum::Router::<()>::new();
    serve(listener, None, Config::default(), service, metrics(), stop).await;
    let (mut taken, _) = TcpListener::from_std(kept).unwrap().accept().await.unwrap();
    taken.write_all(b"next").await.unwrap();
    drop(taken);
    assert_eq!(read_all(&mut client).await, "next");
}

#[tokio::test]
async fn nobody_waits_for_a_client_that_keeps_its_side_of_an_idle_connection_open() {
    let ends_at_once = async |told: bool, sends: bool| {
        let seen = Arc::new(Seen::default());
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Stream::new(near, Arc::clone(&seen), None);
        if told {
            seen.told();
        }
        if sends {
            far.write_all(b"GET").await.unwrap();
            stream.read_u8().await.unwrap();
        }
        stream.shutdown().now_or_never().is_some()
    };
    assert!(ends_at_once(true, false).await);
    assert!(!ends_at_once(true, true).await);
    assert!(!ends_at_once(false, false).await);
}

#[tokio::test]
async fn a_goaway_comes_behind_the_answer_and_not_before() {
    const DATA: u8 = 0;
    const GOAWAY: u8 = 7;
    let running = run(Config::default()).await;
    running.stop.leave();
    let mut stream = running.connect().await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // GET http://a/: everything but the authority is from the static table (RFC 7541, appendix A).
    let request = [0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let sent = [&preface[..], &settings, &request].concat();
    stream.write_all(&sent).await.unwrap();

    let mut kinds = Vec::new();
    while kinds.last() != Some(&GOAWAY) {
        let mut head = [0; 9];
        timeout(PATIENCE, stream.read_exact(&mut head))
            .await
            .unwrap()
            .unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        kinds.push(head[3]);
    }
    assert!(kinds.contains(&DATA), "{kinds:?}");
    drop(stream);
    running.stopped().await;
}
