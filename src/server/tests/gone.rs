//! While a request is in flight, the connection checks whether its client is still there. It loses
//! nothing that arrives meanwhile.

use super::*;

fn door() -> Config {
    Config {
        half_close: true,
        ..Config::default()
    }
}

#[tokio::test]
async fn requests_that_come_while_one_is_inside_are_answered_after_it() {
    const REQUESTS: usize = 50;
    let mut running = run(door()).await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let go_on = running.requests.recv().await.unwrap();
    // More requests than fit into the read-ahead, in pieces that cut requests in two.
    let next = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n".repeat(REQUESTS);
    let last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for piece in (next + last).as_bytes().chunks(101) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    let answers = read_all(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), REQUESTS + 2);
    running.stopped().await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_side_gets_its_answer() {
    let mut running = run(door()).await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let go_on = running.requests.recv().await.unwrap();
    stream.shutdown().await.unwrap();
    tokio::task::yield_now().await;
    go_on.send(()).unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    running.stopped().await;
}
