//! Clients of the gateway: a well-behaved one over hyper, and raw sockets for what hyper would not send.

mod connection;
mod http;
mod raw;
mod response;

pub use self::connection::Connection;
pub use self::http::{Client, ClientError};
pub use self::raw::RawConnection;
pub use self::response::{Chunk, Response, Streaming};
