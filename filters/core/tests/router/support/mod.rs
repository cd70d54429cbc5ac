//! What the tests of the router share: a process of VMs without a host, requests, and the controller's end of the uplink.

mod contended;
mod controller;
mod events;
mod exchange;
mod gateway;
mod host;
pub(crate) mod legs;
mod log_pages;
mod prompts;

pub(crate) use contended::{Contended, PLUGIN, SoloVm, address, controlled, fixed, pools_of};
pub(crate) use controller::Controller;
pub(crate) use events::{load_of, pools, routed, status_of};
pub(crate) use exchange::{TOKEN, chosen, destinations, explain, finish_all, get, post, serve};
pub(crate) use gateway::{counted, endpoints, static_config, step, vm, with_controller};
pub(crate) use host::{Host, Stream, Uplink, UplinkState, Vm};
pub(crate) use log_pages::{LOG_PAGES, records};
pub(crate) use prompts::{EVENT_STREAM, Explanation, JSON, chat, chat_with, text};
