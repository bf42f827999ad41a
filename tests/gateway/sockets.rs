//! Sockets that systemd opens and hands over: they outlive the gateway, and connections wait in
//! them.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{
    bodies::call_started,
    eventually,
    process::{Gateway, Setup, run_in_shell},
    soon,
};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn a_door_is_on_the_socket_that_has_its_name_or_its_address() {
    let socket = listener();
    let addr = socket.local_addr().unwrap();
    for (name, setup) in [
        ("webhook", Setup::new()),
        (
            "verbex-gateway.socket",
            Setup::new().set("WEBHOOK_ADDR", &addr.to_string()),
        ),
    ] {
        let gateway = setup.start_on(&socket, name).await;
        assert_eq!(gateway.webhook_addr(), addr, "{name}");
        gateway.post(call_started(1)).await;
        gateway.stop().await;
    }
    let gateway = Setup::new().start_on(&socket, "grpc").await;
    assert_eq!(gateway.grpc, addr);
    gateway.subscribe(Default::default()).await;
}

#[tokio::test]
async fn who_connects_while_there_is_no_gateway_is_served_by_the_next_one() {
    let socket = listener();
    let setup = Setup::new().set("WEBHOOK_PLAIN_HTTP", "true");
    let gateway = setup.start_on(&socket, "webhook").await;
    let url = gateway.webhook_url.clone();
    let setup = gateway.stop().await;
    let waiting = tokio::spawn(async move {
        let post = reqwest::Client::new().post(url).body("{}");
        post.send().await.unwrap().status()
    });
    // In the backlog: nobody is there to say no.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    let _gateway = setup.start_on(&socket, "webhook").await;
    assert_eq!(soon("an answer", waiting).await.unwrap(), 200);
}

#[tokio::test]
async fn a_socket_that_fits_no_door_is_refused_with_what_to_do() {
    let finished = Setup::new().refused_on(listener(), "unknown").await;
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(
        finished.stderr.contains("FileDescriptorName="),
        "{finished}"
    );

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let finished = Setup::new().refused_on(udp, "webhook").await;
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stderr.contains("ListenStream="), "{finished}");

    let listener = listener();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
    let stream = stream.unwrap().into_std().unwrap();
    let finished = Setup::new().refused_on(stream, "webhook").await;
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(finished.stderr.contains("Accept=no"), "{finished}");
}

#[tokio::test]
async fn a_socket_opens_no_door_to_other_machines_that_may_not_be() {
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = open.local_addr().unwrap().port();
    let finished = Setup::new().refused_on(open, "webhook").await;
    assert_eq!(finished.code, Some(2), "{finished}");
    let expected = format!("0.0.0.0:{port} can be reached from other machines");
    assert!(finished.stderr.contains(&expected), "{finished}");
}

#[tokio::test]
async fn sockets_for_another_process_are_none_of_ours() {
    let words = "export LISTEN_FDS=1 LISTEN_PID=1 LISTEN_FDNAMES=webhook";
    let gateway = Setup::new().shell(words).start().await;
    gateway.post(call_started(1)).await;
}

#[tokio::test]
async fn a_number_of_sockets_that_is_none_is_refused_unless_it_is_for_another_process() {
    let setup = Setup::new();
    for count in ["abc", "-1", "1.5", "99999999999"] {
        let words = format!("export LISTEN_FDS={count} LISTEN_PID=$$; exec \"$0\" serve");
        let finished = run_in_shell(setup.folder(), &words).await;
        assert_eq!(finished.code, Some(2), "{finished}");
        assert!(finished.stderr.contains(count), "{finished}");
    }
    let words = "export LISTEN_FDS=abc LISTEN_PID=1";
    let gateway = Setup::new().shell(words).start().await;
    gateway.post(call_started(1)).await;
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let setup = Setup::new();
    let path = setup.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let heard = async |what: &str| {
        eventually(what, || {
            let mut text = [0; 100];
            let length = socket.recv(&mut text).ok()?;
            Some(String::from_utf8_lossy(&text[..length]).trim().to_owned())
        })
        .await
    };
    let words = format!("export NOTIFY_SOCKET='{}'", path.display());
    let gateway = setup.shell(&words).start().await;
    assert_eq!(heard("it is ready").await, "READY=1");
    gateway.terminate();
    assert_eq!(heard("it stops").await, "STOPPING=1");
    gateway.finished().await;
}

#[tokio::test]
async fn a_webhook_that_trickles_in_keeps_the_door_open_for_the_others() {
    let gateway = Gateway::start().await;
    let mut half = gateway.socket().await;
    half.write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 21\r\n\r\n{")
        .await;
    // Taken in before the end begins: another request on another connection has its answer.
    gateway.post(call_started(1)).await;
    gateway.terminate();
    let mut idle = TcpStream::connect(gateway.webhook_addr()).await.unwrap();
    eventually("it drains", || {
        gateway.output().1.contains("draining").then_some(())
    })
    .await;
    // Longer than it stays open without one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    gateway.post(call_started(2)).await;
    half.write("\"eventName\":\"Last\"}\n").await;
    assert_eq!(half.answer().await.status, 200);
    let finished = gateway.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
    let mut rest = Vec::new();
    let _ = soon("the end", idle.read_to_end(&mut rest)).await;
}
