//! What every test needs: the built filter, a process of VMs, requests, and the controller's end of the uplink.
//!
//! Prompts and events are those of the router's native tests: one request reads the same on both sides of the boundary.

mod artifact;
mod controller;
mod exchange;
mod gateway;

#[path = "../../../../../filters/core/tests/router/support/events.rs"]
mod events;
#[path = "../../../../../filters/core/tests/router/support/prompts.rs"]
mod prompts;

pub(crate) use artifact::{filter, filter_bytes, filter_that_traps};
pub(crate) use controller::Controller;
pub(crate) use events::{load_of, pools, routed, status_of};
pub(crate) use exchange::{
    chosen, complete, destinations, explain, finish_all, get, post, respond_head, serve,
};
pub(crate) use gateway::{
    CLUSTER, assert_clean, counted, endpoints, sharing_config, static_config, step, vm,
};
pub(crate) use prompts::{EVENT_STREAM, Explanation, JSON, chat, chat_with, text};
