//! The built filter in a real Envoy: what only Envoy can show. What the wasmtime host can show is in `tests/wasm`.

mod broken_bodies;
mod configuration;
mod controller_cluster;
mod leaving;
mod lost_nothing;
mod protocols;
mod rewrites;
mod routes;
mod sharing;
pub(crate) mod trap;
mod trapped_holder;
mod weights;
mod withheld;
