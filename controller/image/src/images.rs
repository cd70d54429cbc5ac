//! The two images and their contents.

use crate::elf::{Architecture, ElfError};
use crate::layer::Layer;
use crate::layout::Image;
use serde_json::json;

/// An unprivileged user that neither images nor nodes define.
const USER: &str = "65532:65532";
/// Where the program is, and where the chart expects the filter.
const PROGRAM: &str = "usr/local/bin/warmpath";
const FILTER: &str = "wasm/warmpath-router.wasm";
/// Where Istio's agent and Envoy Gateway look for the filter in an image.
const PLUGIN: &str = "plugin.wasm";

/// The controller's image: the program, which proxies install as well, and the filter.
pub fn controller(program: &[u8], wasm: &[u8], tag: &str) -> Result<Image, ElfError> {
    let architecture = Architecture::of_static(program)?;
    let run = json!({
        "User": USER,
        "Entrypoint": [format!("/{PROGRAM}")],
        "ExposedPorts": { "18000/tcp": {}, "18002/tcp": {} },
        "WorkingDir": "/",
    });
    let layer = Layer::default().program(PROGRAM, program).file(FILTER, wasm);
    Ok(Image { architecture, run, tag: tag.to_owned(), layer })
}

/// The filter's image. An ordinary image, always of the same architecture: few readers accept special WebAssembly layers, and
/// Istio rejects them.
pub fn filter(wasm: &[u8], tag: &str) -> Image {
    let layer = Layer::default().file(PLUGIN, wasm);
    Image { architecture: Architecture::Amd64, run: json!({}), tag: tag.to_owned(), layer }
}
