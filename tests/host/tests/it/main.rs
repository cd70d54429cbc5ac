//! The host seen through a guest that is built with the real SDK, and through WAT where a guest must do
//! what the SDK does not let it do. One binary: linking wasmtime takes longer than all the tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bodies;
mod callouts;
mod counting;
mod fixture;
mod lifecycle;
mod loading;
mod sharing;
mod trapping;
