//! The Rust client with the real gateway: over TLS, with a token, through kills.

use std::fs;

use verbex_gateway::{
    client::{self, CursorStore, Error, FileStore, Item, Start, Subscriber, Subscription},
    proto::{DisconnectSubscriberRequest, ListSubscribersRequest, Subscriber as Listed},
};

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually_asking,
    process::{Gateway, Setup},
    soon,
};

/// The sequence of the next event, with its cursor saved, and how often the connection failed
/// before it.
async fn next_event(items: &mut Subscriber, store: &mut FileStore) -> (u64, usize) {
    let mut interruptions = 0;
    loop {
        let item = soon("an item", items.try_next()).await.unwrap().unwrap();
        if let Some(cursor) = item.cursor() {
            store.save(cursor).unwrap();
        }
        match item {
            Item::Event { event, .. } => return (event.sequence, interruptions),
            Item::Interrupted { .. } => interruptions += 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn it_follows_over_tls_with_a_token_through_kills_and_restarts() {
    let made = Gateway::start().await;
    let hash = blake3::hash(b"secret").to_hex();
    let mut gateway = Setup::new()
        .file(&format!("[[tokens]]\nname = \"crm\"\nhash = \"{hash}\"\n"))
        .grpc_tls_of(&made)
        .start()
        .await;
    let ca = fs::read_to_string(made.ca()).unwrap();
    let address = format!("https://{}", gateway.grpc);
    let nobody = client::Gateway::new(&address)
        .unwrap()
        .with_ca(&ca)
        .unwrap();
    for stranger in [nobody.clone(), nobody.clone().with_token("guess").unwrap()] {
        let mut items = stranger.subscribe(Subscription::new(Start::Earliest));
        let refused = soon("an answer", items.try_next()).await.unwrap_err();
        assert_eq!(refused.reason(), "CREDENTIALS_INVALID");
    }

    let crm = nobody.with_token("secret").unwrap();
    let cursor = gateway.setup.folder().join("calls.cursor");
    let mut number = 0;
    for _run_of_the_program in 0..2 {
        let mut store = FileStore::open(&cursor).unwrap();
        let start = Start::resume(&store, Start::Earliest).unwrap();
        let mut items = crm.subscribe(Subscription::new(start));
        for killed in [false, true, true] {
            if killed {
                gateway = gateway.kill().await.start().await;
            }
            number += 1;
            let stored = gateway.post(call_started(number)).await;
            let (sequence, interruptions) = next_event(&mut items, &mut store).await;
            assert_eq!((sequence, interruptions > 0), (stored.sequence, killed));
        }
    }
}

/// The subscriber of that name.
async fn listed(gateway: &Gateway, name: &str) -> Option<Listed> {
    let mut admin = gateway.admin().await;
    let answer = admin
        .list_subscribers(ListSubscribersRequest::default())
        .await;
    let subscribers = answer.unwrap().into_inner().subscribers;
    subscribers
        .into_iter()
        .find(|subscriber| subscriber.name == name)
}

#[tokio::test]
async fn it_stays_away_when_an_operator_ends_it_and_leaves_when_it_is_dropped() {
    let gateway = Gateway::start().await;
    let follow = || {
        let address = format!("http://{}", gateway.grpc);
        client::Gateway::new(&address)
            .unwrap()
            .subscribe(Subscription {
                name: "crm".into(),
                ..Subscription::new(Start::Latest)
            })
    };
    let mut items = follow();
    soon("a hello", items.try_next()).await.unwrap();
    let id = listed(&gateway, "crm").await.expect("a subscriber").id;
    let mut admin = gateway.admin().await;
    admin
        .disconnect_subscriber(DisconnectSubscriberRequest { id })
        .await
        .unwrap();
    match soon("an end", items.try_next()).await {
        Err(error @ Error::Refused { .. }) => assert_eq!(error.reason(), "DISCONNECTED"),
        other => panic!("{other:?}"),
    }
    assert!(items.try_next().await.unwrap().is_none());

    let mut items = follow();
    soon("a hello", items.try_next()).await.unwrap();
    assert!(listed(&gateway, "crm").await.is_some());
    drop(items);
    eventually_asking(PATIENCE, "the subscriber is gone", async || {
        listed(&gateway, "crm").await.is_none().then_some(())
    })
    .await;
}
