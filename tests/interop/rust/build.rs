//! Stubs from the protos, and their descriptors for JSON. Where there is a `protoc`,
//! `tonic_prost_build::compile_protos` is enough.

use std::{env, error::Error, fs, path::Path};

const PROTOS: &str = "../../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTOS}");
    let services = ["event_service", "admin_service"];
    let files = services.map(|name| format!("verbex/gateway/v1/{name}.proto"));
    let mut compiler = protox::Compiler::new([PROTOS])?;
    compiler.include_imports(true).open_files(files)?;
    let descriptors = Path::new(&env::var("OUT_DIR")?).join("descriptors.binpb");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
