//! The certificate of the webhook door: from files, or one that the gateway makes for itself.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    config::{WebhookDoor, WebhookTls},
    tls,
};

pub(super) struct Certificate {
    /// None if the door speaks plain HTTP.
    pub(super) served: Option<tls::Served>,
    pub(super) ca_pem: Option<PathBuf>,
}

pub(super) fn certificate(door: &WebhookDoor, data_dir: &Path) -> Result<Certificate, tls::Error> {
    Ok(match &door.tls {
        WebhookTls::PlainHttp => Certificate {
            served: None,
            ca_pem: None,
        },
        WebhookTls::Files(files) => Certificate {
            served: Some(tls::load(&files.cert, &files.key)?),
            ca_pem: None,
        },
        WebhookTls::SelfMade => {
            let made = tls::self_made(&data_dir.join("tls"), door.addr.ip(), SystemTime::now())?;
            Certificate {
                served: Some(made.served),
                ca_pem: Some(made.ca_path),
            }
        }
    })
}
