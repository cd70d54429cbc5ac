//! The text of a chat as engines compute it, written by a program that the model's chat template was reduced to.
//!
//! ```text
//!   controller: template ─► probes, rendered ─► program ═ state stream ═► filter: request ─► given ─► slots ─► text
//! ```
//!
//! Engines hash tokens, and tokens come from this text: only cells of it can be compared with what engines report. Most templates
//! write fields of the request one after the other with fixed text between them. A program is that fixed text, by the kinds
//! of the two fields around it. A template engine in the filter would double its size and the start of each process, and take
//! many times longer for each request. What a program does not cover has no text here.

mod chat;
mod dump;
mod form;
mod given;
mod key;
mod messages;
mod messages_body;
mod program;
mod responses_body;
mod slots;
mod strftime;
mod tools;

pub use chat::{Chat, Unwritten};
pub use dump::Layout;
pub use form::{Form, is_space};
pub use given::Given;
pub use key::{Key, Kind};
pub use messages_body::MessagesBody;
pub use program::{Joint, Piece, Program, Table};
pub use responses_body::ResponsesBody;
pub use slots::{CallPart, Field, Shape, Slot, SystemPlace, ToolsAs, ToolsPlace, slots};
pub use strftime::strftime;
