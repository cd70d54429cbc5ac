//! What every test needs: the built filter, a process of VMs, requests, and the controller's end of the feed.

mod artifact;
mod controller;
mod exchange;
mod gateway;

pub(crate) use artifact::{filter, filter_bytes, filter_that_traps};
pub(crate) use controller::{Controller, load_of, pools, routed, status_of};
pub(crate) use exchange::{
    EVENT_STREAM, JSON, chat, chat_with, chosen, destinations, explain, finish_all, get, post, serve, text,
};
pub(crate) use gateway::{CLUSTER, assert_clean, counted, endpoints, static_config, step, vm};
