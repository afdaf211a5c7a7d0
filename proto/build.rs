//! Compiles the proto files with a compiler written in Rust, so that no protoc is needed.

use std::error::Error;
use std::path::Path;

const FILES: [&str; 9] = ["types", "objects", "store", "dispatcher", "logs", "ca", "control", "local", "raft"];

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = FILES.iter().map(|name| format!("skep/v1/{name}.proto")).collect();
    for path in &paths {
        println!("cargo::rerun-if-changed={path}");
    }
    let descriptors = protox::compile(&paths, [Path::new(".")])?;
    tonic_prost_build::configure()
        .bytes(".skep.v1.ImageUpload.data")
        .bytes(".skep.v1.LogLine.data")
        // One chunk of many has it; the others should not be as large.
        .boxed(".skep.v1.SnapshotChunk.cluster")
        .boxed(".skep.v1.AgentMessage.message.hello")
        .boxed(".skep.v1.BackupPart.part.chunk")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
