//! `warmpath proxy`: what a pod with a stock Envoy needs beside Envoy, run inside that pod by the kubelet.
//!
//! ```text
//!   init container   proxy install   filter and this program ─► a volume that Envoy's container mounts
//!   startup probe    proxy ready     has the filter its view?
//!   preStop hook     proxy drain     no new clients; wait for the requests that run
//! ```
//!
//! Not shell scripts around curl: the images of Envoy have neither, and the image of the controller has no shell.

mod admin;
mod drain;
mod install;
mod ready;

pub use self::admin::Admin;
pub use self::drain::drain;
pub use self::install::{InstallError, install};
pub use self::ready::{NotReady, ready};
