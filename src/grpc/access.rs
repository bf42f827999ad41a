//! Who may call which method. A request to a service that is not [open](is_open) carries its
//! caller's [`Grant`], and its method takes that with [`granted`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, header};
use jiff::Timestamp;

use super::status::Failure;
use crate::{
    auth::{Grant, Tokens},
    proto,
};

/// Services that need no credentials: they tell the same about every gateway.
const OPEN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The rules of this door.
pub(super) struct Access {
    /// If there are no tokens, callers need no credentials.
    pub tokens: Tokens,
    /// Whether only this machine reaches the door.
    pub loopback: bool,
    /// Whether events are served; false while the gateway shuts down.
    pub serving: Arc<AtomicBool>,
}

/// Lets a request in with its caller's grant, or answers why not.
pub(super) async fn admit(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    if !is_open(request.uri().path()) {
        let grant = access.grant(&request)?;
        request.extensions_mut().insert(grant);
    }
    Ok(next.run(request).await)
}

/// Whether the method at `path` belongs to a service without credentials.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&service(path))
}

fn service(path: &str) -> &str {
    let mut parts = path.trim_start_matches('/').split('/');
    parts.next().unwrap_or_default()
}

impl Access {
    fn grant(&self, request: &Request) -> Result<Grant, Failure> {
        let path = request.uri().path();
        let for_admins = service(path) == proto::admin_service_server::SERVICE_NAME;
        let grant = self.caller(request.headers())?;
        if for_admins && !grant.admin {
            return Err(match grant.name {
                // No tokens are configured, and the caller may be on another machine.
                None => Failure::CredentialsInvalid,
                Some(_) => Failure::ScopeDenied {
                    method: path.trim_start_matches('/').into(),
                },
            });
        }
        // Operators may use the door until the end.
        if !for_admins && !self.serving.load(Ordering::Relaxed) {
            return Err(Failure::Draining);
        }
        Ok(grant)
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Grant, Failure> {
        if self.tokens.is_empty() {
            return Ok(Grant::anonymous(self.loopback && !is_forwarded(headers)));
        }
        let authorization = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        self.tokens
            .grant(authorization, Timestamp::now())
            .map_err(|denied| {
                tracing::debug!(%denied, "credentials refused");
                Failure::CredentialsInvalid
            })
    }
}

/// Whether a proxy forwards the request. Then its origin may be any machine.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for")
}

/// The rights of a request's caller, and its message. Methods have no other way to their message,
/// so none forgets the rights. An error means that the request did not pass [`admit`].
pub(super) fn granted<T>(request: tonic::Request<T>) -> Result<(Grant, T), Failure> {
    let (_, mut extensions, message) = request.into_parts();
    let grant = extensions
        .remove()
        .ok_or_else(|| Failure::internal(&"a request without a grant reached its method"))?;
    Ok((grant, message))
}
