//! `warmpath proxy`: what a pod with a stock Envoy needs beside Envoy. The kubelet runs it inside that pod.
//!
//! ```text
//!   init container   proxy install   filter and this program ─► a volume that Envoy's container mounts
//!   startup probe    proxy ready     has the filter its view?
//!   preStop hook     proxy drain     no new clients; wait for requests in flight
//! ```
//!
//! Not shell scripts around curl: Envoy's images lack curl, some lack a shell, and the controller's image has neither.

mod admin;
mod drain;
mod install;
mod ready;

pub use self::admin::Admin;
pub use self::drain::drain;
pub use self::install::{InstallError, install};
pub use self::ready::{NotReady, ready};
