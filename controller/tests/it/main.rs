//! Tests of the controller from outside: its files, its pages, its stream, its process.
//!
//! One binary, because linking the controller once takes long enough.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api;
mod backlog;
mod binary;
mod blocks;
mod caches;
mod check;
mod config;
mod conversation;
mod documented;
mod events;
mod formats;
mod get;
mod held;
mod identity;
mod pages;
mod picker;
mod plan;
mod ranks;
mod reload;
mod replicas;
mod reporter;
mod same_rules;
mod slow;
mod stream;
mod support;
mod taught;
mod telemetry;
mod tokens;
mod wasm;
mod xds;
