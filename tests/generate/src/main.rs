//! Writes what is generated into the tree: `just generate`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    warmpath_generate::write()
}
