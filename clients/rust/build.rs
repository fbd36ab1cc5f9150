//! Generates the module `tidelog.v1` from the proto files; no protoc is needed.

use std::error::Error;

const PROTO: &str = "../../proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let files = ["log_service", "group_service", "topic_service"]
        .map(|name| format!("tidelog/v1/{name}.proto"));
    let descriptors = protox::compile(files, [PROTO])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
