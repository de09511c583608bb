//! Compiles the `.proto` files without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["types", "client", "cluster", "exchange"].map(|name| format!("proto/gapwise/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        // They hold secrets: `convert.rs` gives them a `Debug` that does not show them.
        .skip_debug(["gapwise.v1.SourceSpec", "gapwise.v1.SinkSpec", "gapwise.v1.LookupSpec", "gapwise.v1.OutletSpec"])
        .compile_fds(descriptors)?;
    Ok(())
}
