//! The descriptors of what the gRPC door speaks, for reflection, for `verbex-gateway descriptor`
//! and for `/descriptor.binpb`.

use prost_reflect::DescriptorPool;

use crate::proto;

/// The descriptors that are built into the gateway are not valid.
#[derive(Debug, thiserror::Error)]
#[error("cannot build the descriptors of the gRPC API: {0}")]
pub struct DescriptorError(#[from] prost_reflect::DescriptorError);

/// A binary `google.protobuf.FileDescriptorSet`: the contract with its comments, the details of
/// errors, health, and everything that these import. Each file comes once, after its imports.
///
/// # Errors
/// Never, unless the build is broken.
pub(crate) fn descriptor_set() -> Result<Vec<u8>, DescriptorError> {
    Ok(descriptor_pool()?.encode_to_vec())
}

/// The same descriptors, as a pool for look-ups.
pub(super) fn descriptor_pool() -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::new();
    for set in [
        proto::DESCRIPTOR_SET,
        tonic_types::pb::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
    ] {
        pool.decode_file_descriptor_set(set)?;
    }
    Ok(pool)
}
