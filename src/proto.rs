//! The public contract as generated code: package `verbex.gateway.v1`, from `proto/`.

#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

tonic::include_proto!("verbex.gateway.v1");

/// The `FileDescriptorSet` of the contract and its imports, with the comments of the protos.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.binpb"));
