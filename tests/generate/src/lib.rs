//! What is generated and checked in: the Rust code of the wire schema, from `filters/core/proto`, and the chart's definition of
//! ModelService (`definition`).
//!
//! A build script would generate the code at every build and bring its dependencies into the filter's; here it is done when the
//! schema changes (`just generate`), the code is checked in, and a test compares. The compiler of the schema is a Rust
//! crate, so nobody has to install `protoc`.

pub mod definition;

use prost_build::{Config, Module};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const SCHEMA: &str = "warmpath/v1/state.proto";
const PACKAGE: &str = "warmpath.v1";
const HEAD: &str = "\
//! The messages of the state stream, generated from `filters/core/proto/warmpath/v1/state.proto` by `just generate`: do
//! not edit.
//!
//! Checked in, so that a build needs no compiler of the schema; a test of `tests/generate` compares.

";

/// Where the generated code is checked in.
pub fn path() -> PathBuf {
    core().join("src/wire/generated.rs")
}

/// The code that belongs to the schema as it is now.
pub fn code() -> Result<String, Box<dyn Error>> {
    let schema = protox::compile([SCHEMA], [core().join("proto")])?;
    let package = Module::from_protobuf_package_name(PACKAGE);
    let requests = schema.file.into_iter().map(|file| (package.clone(), file)).collect();
    // Every event is as large as the largest, and few have this.
    let mut modules =
        Config::new().format(true).boxed(".warmpath.v1.Pool.prompt_format").generate(requests)?;
    let code = modules.remove(&package).ok_or("the schema has another package")?;
    let (_, code) = code.split_once('\n').ok_or("the code is empty")?;
    Ok(format!("{HEAD}{code}"))
}

/// Brings what is checked in up to date.
pub fn write() -> Result<(), Box<dyn Error>> {
    fs::write(path(), code()?)?;
    Ok(fs::write(definition::path(), definition::yaml()?)?)
}

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filters/core")
}
