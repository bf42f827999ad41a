//! What the gRPC door speaks, described once: for reflection, for `verbex-gateway descriptor` and for `/descriptor.binpb`.

use std::collections::HashSet;

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::proto;

/// The descriptors built into the gateway are not sound.
#[derive(Debug, thiserror::Error)]
#[error("the gateway cannot describe what it speaks: {0}")]
pub struct DescriptorError(#[from] tonic_reflection::server::Error);

/// A binary `google.protobuf.FileDescriptorSet`: the contract with its comments, the details that errors carry, health, and all that these import: each file once, after
/// those that it imports.
///
/// # Errors
/// Never, in a sound build.
pub fn descriptor_set() -> Result<Vec<u8>, DescriptorError> {
    let mut known = HashSet::new();
    let mut all = FileDescriptorSet::default();
    for set in [
        proto::DESCRIPTOR_SET,
        tonic_types::pb::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ] {
        let set = FileDescriptorSet::decode(set).map_err(tonic_reflection::server::Error::from)?;
        let new = set
            .file
            .into_iter()
            .filter(|file| known.insert(file.name().to_owned()));
        all.file.extend(new);
    }
    Ok(all.encode_to_vec())
}
