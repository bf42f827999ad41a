//! The services behind the door, over a real log and fan-out.

use std::time::Instant;

use axum::body::Body;
use http::Request;
use prometheus_client::registry::Registry;
use prost_reflect::DescriptorPool;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::{fanout, log};

struct Rig {
    /// Without the layers in front of them.
    services: Router,
    _dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut metrics = Registry::default();
        let config = log::Config {
            data_dir: dir.path().to_owned(),
            new_log: false,
        };
        let log = log::open(&config, log::Metrics::register(&mut metrics)).unwrap();
        let config = fanout::Config {
            subscribers_max: 10,
            queue_bytes_max: 1 << 20,
            queues_bytes_max: 1 << 20,
        };
        let epoch = log.identity.epoch;
        let (fanout, router) = Fanout::new(
            config,
            epoch,
            log.reader.clone(),
            log.followers,
            fanout::Metrics::register(&mut metrics),
        );
        tokio::spawn(router);
        let parts = Parts {
            epoch,
            reader: log.reader,
            fanout,
            started: Instant::now(),
        };
        Self {
            services: services(parts, Vec::new(), &Health::new()).unwrap(),
            _dir: dir,
        }
    }
}

#[tokio::test]
async fn a_method_without_a_grant_is_an_error() {
    let rig = Rig::new();
    let pool = DescriptorPool::decode(&descriptor_set().unwrap()[..]).unwrap();
    let mut asked = 0;
    for method in pool
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
    {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        if access::is_open(&path) {
            continue;
        }
        // One empty message.
        let request = Request::post(&path)
            .header("content-type", "application/grpc")
            .body(Body::from(vec![0; 5]))
            .unwrap();
        let response = rig.services.clone().oneshot(request).await.unwrap();
        let status = tonic::Status::from_header_map(response.headers());
        let code = status.map(|status| status.code());
        assert_eq!(code, Some(tonic::Code::Internal), "{path}");
        asked += 1;
    }
    assert!(asked >= 6, "{asked}");
}
