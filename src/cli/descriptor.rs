//! `verbex-gateway descriptor`: the gRPC API, for tools that do not read proto files.

use std::io::{self, IsTerminal, Write};

use super::UsageError;
use crate::grpc;

/// Print the gRPC API as a binary FileDescriptorSet, with comments and imports
///
/// For grpcurl, buf and other tools that read a descriptor set instead of proto files. A running
/// gateway serves the same at /descriptor.binpb on its operations address.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  verbex-gateway descriptor > verbex-gateway.binpb
  grpcurl -protoset verbex-gateway.binpb describe verbex.gateway.v1.Event
  buf generate verbex-gateway.binpb")]
pub(super) struct Args {}

pub(super) async fn run(_: Args) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    if stdout.is_terminal() {
        let advice = "the output is binary, not for a terminal; `verbex-gateway descriptor > \
         verbex-gateway.binpb` writes it to a file";
        return Err(UsageError(advice.to_owned()).into());
    }
    stdout.write_all(&grpc::descriptor_set()?)?;
    stdout.flush()?;
    Ok(())
}
