//! What the tests of the router share: a process of VMs without a host, requests, and the controller's end of the uplink.

mod contended;
mod controller;
mod exchange;
mod gateway;
mod host;
mod log_pages;

pub(crate) use contended::{Contended, PLUGIN, SoloVm, address, controlled, fixed, pools_of};
pub(crate) use controller::{Controller, load_of, pools, routed, status_of};
pub(crate) use exchange::{
    EVENT_STREAM, JSON, chat, chat_with, chosen, destinations, explain, finish_all, get, post, serve, text,
};
pub(crate) use gateway::{counted, endpoints, static_config, step, vm, with_controller};
pub(crate) use host::{Host, Stream, Uplink, UplinkState, Vm};
pub(crate) use log_pages::{LOG_PAGES, records};
