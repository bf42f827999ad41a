//! A place for the wiring, so that `cli` has something to call.
#![allow(missing_docs, clippy::unused_async)]

use std::{convert::Infallible, future::Future, net::SocketAddr, path::PathBuf};

use crate::config::Config;

pub struct Gateway {
    config: Config,
}

pub struct Addresses {
    pub webhook_url: String,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    pub ca_pem: Option<PathBuf>,
}

pub type StartError = Infallible;

impl Gateway {
    pub async fn build(config: Config) -> Result<Self, StartError> {
        Ok(Self { config })
    }

    pub fn addresses(&self) -> Addresses {
        Addresses {
            webhook_url: format!("https://{}/webhooks/verbex", self.config.webhook.addr),
            grpc: self.config.grpc.addr,
            admin: self.config.admin.addr,
            ca_pem: Some(self.config.data_dir.join("tls/dev-ca.pem")),
        }
    }

    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        shutdown.await;
        Ok(())
    }
}
