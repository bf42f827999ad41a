//! Compiles the protos with protox, so that a machine with only cargo builds the gateway.

use std::{env, error::Error, fs, path::PathBuf};

const PROTOS: [&str; 3] = [
    "verbex/gateway/v1/event.proto",
    "verbex/gateway/v1/event_service.proto",
    "verbex/gateway/v1/admin_service.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script so")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;

    // Kept with comments, so that `grpcurl describe` explains itself.
    let descriptor_set = PathBuf::from(env::var("OUT_DIR")?).join("descriptor.binpb");
    fs::write(descriptor_set, compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .bytes(".verbex.gateway.v1.Event.raw_json")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
