//! The messages of the state stream, generated from `filters/core/proto/warmpath/v1/state.proto` by `just generate`: do
//! not edit.
//!
//! Checked in, so that a build needs no compiler of the schema; a test of `tests/generate` compares.

/// From a proxy to the controller.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Up {
    /// Present in the first message of a stream and in no other.
    #[prost(message, optional, tag = "1")]
    pub hello: ::core::option::Option<Hello>,
    /// What this process did since the last message, in order.
    #[prost(message, repeated, tag = "2")]
    pub events: ::prost::alloc::vec::Vec<Event>,
}
/// The first message of a stream: which proxy opens it, and where it wants to resume.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Hello {
    /// Names the proxy process; all its VMs and all its streams share it. Never zero.
    #[prost(fixed64, tag = "1")]
    pub process: u64,
    /// The proxy's name for people (Envoy's node id).
    #[prost(string, tag = "2")]
    pub node: ::prost::alloc::string::String,
    /// The filter's version.
    #[prost(string, tag = "3")]
    pub version: ::prost::alloc::string::String,
    /// The state that the proxy has already; absent when it has none.
    #[prost(message, optional, tag = "4")]
    pub resume: ::core::option::Option<ResumePoint>,
    /// Bytes of text in its cells; chains over cells of another size match nothing. Zero: not stated.
    #[prost(uint32, tag = "5")]
    pub cell_bytes: u32,
    /// The subscriber is another replica of the controller, and `process` its instance. It is sent what this replica's own
    /// proxies report, and nothing that it finds out by itself.
    #[prost(bool, tag = "6")]
    pub replica: bool,
    /// It takes what engines report of their caches, and writes prompts by the format of their pool. A filter of before that does
    /// neither: it skips these events, and routes by what is learned.
    #[prost(bool, tag = "7")]
    pub takes_reports: bool,
}
/// A state that a proxy has reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ResumePoint {
    /// The controller instance whose stream was last followed to its end.
    #[prost(fixed64, tag = "1")]
    pub instance: u64,
    /// The last generation of that instance that was applied.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
}
/// From the controller to a proxy.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Down {
    /// The controller instance that counts the generations.
    #[prost(fixed64, tag = "1")]
    pub instance: u64,
    /// The receiver's generation after this message; zero inside a snapshot.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// What the events are.
    #[prost(enumeration = "Phase", tag = "3")]
    pub phase: i32,
    /// In order.
    #[prost(message, repeated, tag = "4")]
    pub events: ::prost::alloc::vec::Vec<Event>,
}
/// One change, as small as the change itself.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Event {
    /// The change; a receiver that is older than the sender finds none, and skips the event.
    #[prost(
        oneof = "event::Kind",
        tags = "1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23"
    )]
    pub kind: ::core::option::Option<event::Kind>,
}
/// Nested message and enum types in `Event`.
pub mod event {
    /// The change; a receiver that is older than the sender finds none, and skips the event.
    #[derive(Clone, PartialEq, ::prost::Oneof)]
    pub enum Kind {
        /// All pools with their endpoints. Replace the set; keep what is known of endpoints that stay.
        #[prost(message, tag = "1")]
        Pools(super::Pools),
        /// The state of one engine. Replace the endpoint's status.
        #[prost(message, tag = "2")]
        EngineStatus(super::EngineStatus),
        /// A request was sent to an endpoint. Expect its cells there until the outcome is known.
        #[prost(message, tag = "3")]
        Routed(super::Routed),
        /// What one origin has in flight at one endpoint now. Replace that origin's share.
        #[prost(message, tag = "4")]
        InFlight(super::InFlightReport),
        /// An origin still has in flight what it last reported. Keep its shares.
        #[prost(message, tag = "7")]
        Alive(super::Alive),
        /// An origin has ended. Drop its shares.
        #[prost(message, tag = "8")]
        Gone(super::Gone),
        /// One prefix and the endpoints that hold it. Learn it.
        #[prost(message, tag = "9")]
        Prefix(super::Prefix),
        /// The usage that an engine reported with a response. Adjust what is known of the pool's text and caches.
        #[prost(message, tag = "10")]
        UsageSeen(super::UsageSeen),
        /// The proxy processes that route. Replace the list; the index in it is one's turn.
        #[prost(message, tag = "11")]
        Proxies(super::Proxies),
        /// An attempt at an endpoint came to something. Judge the endpoint by it, and learn or drop the expected cells.
        #[prost(message, tag = "12")]
        Outcome(super::Outcome),
        /// The statuses that the controller has published are as of now.
        #[prost(message, tag = "13")]
        Current(super::Current),
        /// An endpoint has stored a response that later requests name. Send those there.
        #[prost(message, tag = "14")]
        Stored(super::Stored),
        /// One of the pools has changed. Replace it; the others stay.
        #[prost(message, tag = "15")]
        Pool(super::Pool),
        /// KV came from one endpoint to another. Learn how long that takes.
        #[prost(message, tag = "16")]
        TransferSeen(super::TransferSeen),
        /// A request has ended, whose conversation is followed. Its turn is over.
        #[prost(message, tag = "17")]
        Ended(super::Ended),
        /// A proxy holds a request. Add it to those that wait, or replace what was known of it.
        #[prost(message, tag = "18")]
        Held(super::Held),
        /// A proxy holds a request no more. Remove it from those that wait.
        #[prost(message, tag = "19")]
        Released(super::Released),
        /// A conversation that is followed. Take it over, unless more is known.
        #[prost(message, tag = "20")]
        Conversation(super::Conversation),
        /// KV came to an engine or left it, as the engine says. Add and remove the cells.
        #[prost(message, tag = "21")]
        Reported(super::Reported),
        /// How far the reports of one engine can be relied on. Replace the endpoint's state.
        #[prost(message, tag = "22")]
        Reporting(super::Reporting),
        /// How long a pool takes to wake. Replace what was known of it.
        #[prost(message, tag = "23")]
        WakeTime(super::WakeTime),
    }
}
/// All pools.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Pools {
    /// In order of preference: the first one serves requests that name no model.
    #[prost(message, repeated, tag = "1")]
    pub pools: ::prost::alloc::vec::Vec<Pool>,
}
/// Endpoints that serve the same models.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Pool {
    /// Unique among pools; part of every chain's root.
    #[prost(string, tag = "1")]
    pub name: ::prost::alloc::string::String,
    /// Names that requests give the base model; `*` takes any.
    #[prost(string, repeated, tag = "2")]
    pub models: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Names of adapters; each has its own chains.
    #[prost(string, repeated, tag = "3")]
    pub adapters: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// The endpoints that serve these models.
    #[prost(message, repeated, tag = "4")]
    pub endpoints: ::prost::alloc::vec::Vec<PoolEndpoint>,
    /// The pool's models as its engines list them on `/v1/models`: one JSON object each. Empty: not known.
    #[prost(string, repeated, tag = "5")]
    pub listed: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Rules that replace the models of requests, in order of precedence: the first that matches applies.
    #[prost(message, repeated, tag = "6")]
    pub rewrites: ::prost::alloc::vec::Vec<Rewrite>,
    /// The objectives that requests may name.
    #[prost(message, repeated, tag = "7")]
    pub objectives: ::prost::alloc::vec::Vec<Objective>,
    /// Its share of the conversations of a model that several pools serve, relative to the others'. Zero: one.
    #[prost(uint32, tag = "8")]
    pub weight: u32,
    /// How its engines pass KV on between the legs of a request. Absent: every request stays whole.
    #[prost(message, optional, tag = "9")]
    pub transfer: ::core::option::Option<Transfer>,
    /// How long its requests are held in the proxy. Absent: not at all.
    #[prost(message, optional, tag = "10")]
    pub hold: ::core::option::Option<Hold>,
    /// How its engines write prompts. Absent: not known, and the prompts' fields are hashed in an order of the router's own.
    #[prost(message, optional, boxed, tag = "11")]
    pub prompt_format: ::core::option::Option<::prost::alloc::boxed::Box<PromptFormat>>,
}
/// How engines write the prompts of requests, so that the text of a prompt is what they compute.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct PromptFormat {
    /// Text that the tokenizer puts before a prompt that is not a chat: mostly that of its first special token.
    #[prost(string, tag = "1")]
    pub text_prefix: ::prost::alloc::string::String,
    /// How chats are written. Absent: not known.
    #[prost(message, optional, tag = "2")]
    pub chat: ::core::option::Option<ChatProgram>,
}
/// What a model's chat template was reduced to: the text between two fields of a request, by what the fields are. The numbers of
/// kinds, circumstances and forms are those of the crate warmpath-template.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ChatProgram {
    /// The order of fields in the text.
    #[prost(message, optional, tag = "1")]
    pub shape: ::core::option::Option<ChatShape>,
    /// Names of arguments of the template that decide which table holds, if they are booleans.
    #[prost(string, repeated, tag = "2")]
    pub switches: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Names of arguments that change the text in other ways.
    #[prost(string, repeated, tag = "3")]
    pub arguments: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// Text that the template looks for in the contents of messages.
    #[prost(string, repeated, tag = "4")]
    pub guards: ::prost::alloc::vec::Vec<::prost::alloc::string::String>,
    /// The texts between fields.
    #[prost(message, repeated, tag = "5")]
    pub literals: ::prost::alloc::vec::Vec<ChatLiteral>,
    /// What is written, by the tools and switches of a request.
    #[prost(message, repeated, tag = "6")]
    pub tables: ::prost::alloc::vec::Vec<ChatTable>,
    /// Whether engines move the system messages of /v1/messages to the head, because the template rejects them elsewhere.
    #[prost(bool, tag = "7")]
    pub merges_system: bool,
}
/// The order in which a template writes the fields of a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ChatShape {
    /// Whether parts of a content are fields of their own.
    #[prost(bool, tag = "1")]
    pub has_parts: bool,
    /// Whether the template knows the role of developers.
    #[prost(bool, tag = "2")]
    pub has_developer: bool,
    /// Whether it reads the names of messages.
    #[prost(bool, tag = "3")]
    pub reads_names: bool,
    /// Whether the id of a result stands before its content.
    #[prost(bool, tag = "4")]
    pub is_result_id_first: bool,
    /// Where the tools stand: before all, after the system message, before the first message after that, before the last of a user.
    #[prost(uint32, tag = "5")]
    pub tools_place: u32,
    /// What of a tool is one text: all of it, its function, or each field.
    #[prost(uint32, tag = "6")]
    pub tools_as: u32,
    /// Where a system message at the head stands: there, or before the last message.
    #[prost(uint32, tag = "7")]
    pub system_place: u32,
    /// The order of a call's name, arguments and id, as one of six.
    #[prost(uint32, tag = "8")]
    pub call_order: u32,
    /// Whether it writes calls.
    #[prost(bool, tag = "9")]
    pub has_calls: bool,
    /// Whether it writes reasoning.
    #[prost(bool, tag = "10")]
    pub has_reasoning: bool,
}
/// A text between fields.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ChatLiteral {
    /// Its pieces.
    #[prost(message, repeated, tag = "1")]
    pub pieces: ::prost::alloc::vec::Vec<ChatPiece>,
}
/// A piece of a text between fields.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ChatPiece {
    /// Text.
    #[prost(string, tag = "1")]
    pub text: ::prost::alloc::string::String,
    /// If not empty: the time in this format of strftime, in place of text.
    #[prost(string, tag = "2")]
    pub now: ::prost::alloc::string::String,
}
/// What is written for some requests.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ChatTable {
    /// Whether the request has tools.
    #[prost(bool, tag = "1")]
    pub has_tools: bool,
    /// What it gives for each switch: zero: nothing, 1: false, 2: true.
    #[prost(uint32, repeated, tag = "2")]
    pub switches: ::prost::alloc::vec::Vec<u32>,
    /// Keys of fields, ascending.
    #[prost(uint32, repeated, tag = "3")]
    pub fields: ::prost::alloc::vec::Vec<u32>,
    /// The form of each.
    #[prost(uint32, repeated, tag = "4")]
    pub forms: ::prost::alloc::vec::Vec<u32>,
    /// The texts between fields, ascending by their keys.
    #[prost(message, repeated, tag = "5")]
    pub joints: ::prost::alloc::vec::Vec<ChatJoint>,
    /// The kinds whose fields may be empty.
    #[prost(uint32, repeated, tag = "6")]
    pub empty: ::prost::alloc::vec::Vec<u32>,
    /// The circumstances that matter, by kind.
    #[prost(uint32, repeated, tag = "7")]
    pub kept: ::prost::alloc::vec::Vec<u32>,
}
/// What stands between two fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct ChatJoint {
    /// The key of the field before it.
    #[prost(uint32, tag = "1")]
    pub from: u32,
    /// The key of the field after it.
    #[prost(uint32, tag = "2")]
    pub to: u32,
    /// Which of the literals.
    #[prost(uint32, tag = "3")]
    pub literal: u32,
}
/// How long requests of a pool are held in the proxy instead of being sent or refused.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Hold {
    /// The longest wait for room in the engines' KV caches, in milliseconds. Zero: no request waits for room.
    #[prost(uint32, tag = "1")]
    pub room_ms_max: u32,
    /// The longest wait for an endpoint while the pool has none, in milliseconds. Zero: such requests are refused.
    #[prost(uint32, tag = "2")]
    pub endpoint_ms_max: u32,
    /// The tenants whose share of the room is not that of all others.
    #[prost(message, repeated, tag = "3")]
    pub tenants: ::prost::alloc::vec::Vec<Tenant>,
}
/// A tenant of a pool.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Tenant {
    /// Its name in the requests' header.
    #[prost(string, tag = "1")]
    pub name: ::prost::alloc::string::String,
    /// Its share of the room, relative to the others', which have one. Zero: one.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
}
/// How the engines of a pool pass KV on.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Transfer {
    /// What they speak.
    #[prost(enumeration = "TransferProtocol", tag = "1")]
    pub protocol: i32,
    /// Port of the bootstrap server of each prefill engine, where the protocol has one. Zero: the engines' default.
    #[prost(uint32, tag = "2")]
    pub bootstrap_port: u32,
    /// The proxy's cluster through which prefill legs reach the pool's engines. Empty: that of the request's route.
    #[prost(string, tag = "3")]
    pub cluster: ::prost::alloc::string::String,
}
/// One endpoint of a pool.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct PoolEndpoint {
    /// `ip:port`, as Envoy writes it.
    #[prost(string, tag = "1")]
    pub address: ::prost::alloc::string::String,
    /// What runs there: the XXH3-64 of its pod's UID. Zero: not known. A change means a cold cache.
    #[prost(fixed64, tag = "2")]
    pub identity: u64,
    /// The legs of requests that it takes.
    #[prost(enumeration = "Role", tag = "3")]
    pub role: i32,
    /// The id that its KV connector gives it, where decode legs have to state it. Empty: not known.
    #[prost(string, tag = "4")]
    pub engine: ::prost::alloc::string::String,
}
/// A rule that replaces the model of requests.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Rewrite {
    /// The name in the request. Empty: any.
    #[prost(string, tag = "1")]
    pub model: ::prost::alloc::string::String,
    /// The models that replace it; a conversation stays with one of them.
    #[prost(message, repeated, tag = "2")]
    pub targets: ::prost::alloc::vec::Vec<RewriteTarget>,
}
/// One target of a Rewrite.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct RewriteTarget {
    /// The name that the engine gets.
    #[prost(string, tag = "1")]
    pub model: ::prost::alloc::string::String,
    /// Its share of the conversations, relative to the other targets'. Zero: none, unless all are zero, which are equal.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
}
/// The importance of requests that name it.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Objective {
    /// Its name in the request's header.
    #[prost(string, tag = "1")]
    pub name: ::prost::alloc::string::String,
    /// Higher is more important. Below zero, requests may be refused when the pool is full.
    #[prost(sint32, tag = "2")]
    pub priority: i32,
}
/// The state of one engine, from its metrics page and from how its scrapes went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct EngineStatus {
    /// The endpoint: XXH3-64 of its `ip:port`.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// Whether it may be chosen.
    #[prost(enumeration = "Health", tag = "2")]
    pub health: i32,
    /// Requests in the engine's batch.
    #[prost(uint32, tag = "3")]
    pub running: u32,
    /// Requests in the engine's queue.
    #[prost(uint32, tag = "4")]
    pub waiting: u32,
    /// Share of the GPU's KV blocks that running requests use, in thousandths.
    #[prost(uint32, tag = "5")]
    pub kv_used_permille: u32,
    /// KV capacity of the GPU in tokens, which bounds what can run at once. Absent when unknown: keep what was known or
    /// assumed.
    #[prost(uint64, optional, tag = "6")]
    pub capacity_tokens: ::core::option::Option<u64>,
    /// Tokens in a KV block; absent when unknown.
    #[prost(uint32, optional, tag = "7")]
    pub block_tokens: ::core::option::Option<u32>,
    /// Tokens that the engine holds in tiers below its GPU, beside those on it, and loads from there by itself; zero for
    /// none. The sum with `capacity_tokens` bounds the cells that the endpoint is believed to hold.
    #[prost(uint64, tag = "8")]
    pub kv_below_gpu_tokens: u64,
    /// Changes when the engine's process has changed, or after it was unreachable for so long that it may have: its cache
    /// is cold then. Zero: not known.
    #[prost(uint64, tag = "9")]
    pub incarnation: u64,
    /// LoRA adapters that its batch may mix; zero: not known.
    #[prost(uint32, tag = "10")]
    pub adapter_slots: u32,
}
/// A request that was sent.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Routed {
    /// The endpoint that it was sent to.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// The prompt's whole chain, from its first cell: a receiver's tree may be split at other cells than the sender's, so
    /// that a suffix could not be attached.
    #[prost(fixed64, repeated, tag = "2")]
    pub cells: ::prost::alloc::vec::Vec<u64>,
    /// The origin that sent it.
    #[prost(fixed64, tag = "3")]
    pub origin: u64,
    /// That origin's number for it: the outcome names both. Zero: no outcome will follow, and the cells are learned at once.
    #[prost(uint64, tag = "4")]
    pub request: u64,
    /// The turn of a conversation that it is. Absent: its conversation is not followed.
    #[prost(message, optional, tag = "5")]
    pub turn: ::core::option::Option<Turn>,
    /// The LoRA adapter that it needs: XXH3-64 of the name. Zero: none.
    #[prost(fixed64, tag = "6")]
    pub adapter: u64,
    /// Whether it is a decode leg: another endpoint computes its prompt, first or at the same time.
    #[prost(bool, tag = "7")]
    pub decodes: bool,
}
/// A turn of a conversation, under way from Routed to Ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Turn {
    /// Names the conversation: a random number of whoever saw its first turn.
    #[prost(fixed64, tag = "1")]
    pub conversation: u64,
    /// Tokens of its prompt and of the response that is expected.
    #[prost(uint64, tag = "2")]
    pub tokens: u64,
    /// Tokens of those that other conversations begin with, too, and that an endpoint keeps once for all.
    #[prost(uint64, tag = "3")]
    pub shared_tokens: u64,
    /// Its tenant: XXH3-64 of the name. Zero: none.
    #[prost(fixed64, tag = "4")]
    pub tenant: u64,
    /// How long it was held, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub waited_ms: u64,
    /// Whether the conversation had no place there before.
    #[prost(bool, tag = "6")]
    pub is_new: bool,
    /// Whether its cells are of a kind that engines do not report: the text that its engine computes is not known.
    #[prost(bool, tag = "7")]
    pub is_learned: bool,
}
/// The end of a request whose conversation is followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Ended {
    /// The origin that sent it, as in Routed.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// Its number there.
    #[prost(uint64, tag = "2")]
    pub request: u64,
}
/// A request that a proxy holds.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Held {
    /// The origin that holds it.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// That origin's number for it.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The pool's name.
    #[prost(string, tag = "3")]
    pub pool: ::prost::alloc::string::String,
    /// What it waits for.
    #[prost(enumeration = "HeldFor", tag = "4")]
    pub held_for: i32,
    /// How long it has waited when this was sent, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub age_ms: u64,
    /// Its conversation, as in Turn. Zero: none is followed.
    #[prost(fixed64, tag = "6")]
    pub conversation: u64,
    /// Tokens that an endpoint would have to keep for it.
    #[prost(uint64, tag = "7")]
    pub tokens: u64,
    /// Its tenant, as in Turn.
    #[prost(fixed64, tag = "8")]
    pub tenant: u64,
    /// The priority of its objective.
    #[prost(sint32, tag = "9")]
    pub priority: i32,
    /// Bytes of its body, which the proxy keeps.
    #[prost(uint64, tag = "10")]
    pub body_bytes: u64,
}
/// A request that a proxy holds no more: it was sent, refused, or its client has left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Released {
    /// The origin, as in Held.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// Its number there.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// Whether it was sent.
    #[prost(bool, tag = "3")]
    pub is_sent: bool,
}
/// A conversation that is followed, in a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Conversation {
    /// Its name, as in Turn.
    #[prost(fixed64, tag = "1")]
    pub conversation: u64,
    /// The last cell of its prompt: who continues that, continues it.
    #[prost(fixed64, tag = "2")]
    pub cell: u64,
    /// The endpoint at which it has a place. Zero: it has none.
    #[prost(fixed64, tag = "3")]
    pub endpoint: u64,
    /// Tokens that an endpoint has to keep for it alone.
    #[prost(uint64, tag = "4")]
    pub tokens: u64,
    /// Its tenant, as in Turn.
    #[prost(fixed64, tag = "5")]
    pub tenant: u64,
    /// Time since its last response ended, in milliseconds; zero while one is under way.
    #[prost(uint64, tag = "6")]
    pub idle_ms: u64,
    /// Time since it got its place, in milliseconds.
    #[prost(uint64, tag = "7")]
    pub placed_ms: u64,
    /// The pool's name.
    #[prost(string, tag = "8")]
    pub pool: ::prost::alloc::string::String,
    /// The first cell of its prompt.
    #[prost(fixed64, tag = "9")]
    pub head: u64,
    /// The cell of its prompt under which it is looked for.
    #[prost(fixed64, tag = "10")]
    pub anchor: u64,
    /// Cells of its prompt.
    #[prost(uint32, tag = "11")]
    pub cells: u32,
    /// Tokens that an endpoint has to keep for it and others that begin alike.
    #[prost(uint64, tag = "12")]
    pub shared_tokens: u64,
    /// Turns of it that were seen.
    #[prost(uint32, tag = "13")]
    pub turns: u32,
    /// A cell shortly before the last of its prompt: who continues that may continue it with another end.
    #[prost(fixed64, tag = "14")]
    pub mark: u64,
}
/// What one origin has in flight at one endpoint: absolute numbers, so that a lost event heals with the next one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct InFlightReport {
    /// The origin: one VM of one proxy process.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
    /// The endpoint.
    #[prost(fixed64, tag = "2")]
    pub endpoint: u64,
    /// Requests that were sent and have not ended.
    #[prost(uint32, tag = "3")]
    pub requests: u32,
    /// Requests of those whose response has not begun.
    #[prost(uint32, tag = "4")]
    pub prefills: u32,
    /// Prefill work of those, in tokens' worth: the time that as many uncached tokens at the start of a prompt would take.
    #[prost(uint64, tag = "5")]
    pub prefill_work: u64,
    /// Prompt tokens of all requests in flight.
    #[prost(uint64, tag = "6")]
    pub context_tokens: u64,
}
/// What one attempt at an endpoint came to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Outcome {
    /// The endpoint.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// How it ended, or that its first token has come.
    #[prost(enumeration = "OutcomeClass", tag = "2")]
    pub class: i32,
    /// The origin that sent the request, as in Routed.
    #[prost(fixed64, tag = "3")]
    pub origin: u64,
    /// Its number there. Zero: no cells were expected.
    #[prost(uint64, tag = "4")]
    pub request: u64,
    /// Time since it was sent, in milliseconds.
    #[prost(uint64, tag = "5")]
    pub age_ms: u64,
    /// Prefill work that was done before the first token, the request's own included, in the unit of
    /// `InFlightReport.prefill_work`, by the sender's estimate. Absent when the time had other causes, so that it says
    /// nothing about the speed.
    #[prost(uint64, optional, tag = "6")]
    pub work_ahead: ::core::option::Option<u64>,
    /// Time from dispatch to the first token, in microseconds.
    #[prost(uint64, tag = "7")]
    pub ttft_us: u64,
}
/// A sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Alive {
    /// The origin.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
}
/// The end of an origin.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Gone {
    /// The origin.
    #[prost(fixed64, tag = "1")]
    pub origin: u64,
}
/// A prefix, as a continuation of the last Prefix of the same stream (or page of shared data): cut the chain of that one
/// to `depth` and append `cells`. Events of other kinds in between do not touch that chain.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Prefix {
    /// Cells of the previous chain to keep; zero in a prefix that is complete by itself.
    #[prost(uint32, tag = "1")]
    pub depth: u32,
    /// Cells that follow them.
    #[prost(fixed64, repeated, tag = "2")]
    pub cells: ::prost::alloc::vec::Vec<u64>,
    /// Endpoints that hold the chain.
    #[prost(fixed64, repeated, tag = "3")]
    pub endpoints: ::prost::alloc::vec::Vec<u64>,
    /// How many of `cells` each of them holds, in the order of `endpoints`.
    #[prost(uint32, repeated, tag = "4")]
    pub held: ::prost::alloc::vec::Vec<u32>,
}
/// The usage that an engine reported with one response.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct UsageSeen {
    /// The pool's name.
    #[prost(string, tag = "1")]
    pub pool: ::prost::alloc::string::String,
    /// Prompt text in bytes.
    #[prost(uint64, tag = "2")]
    pub prompt_bytes: u64,
    /// Tokens that the engine counted for the prompt.
    #[prost(uint64, tag = "3")]
    pub prompt_tokens: u64,
    /// Tokens of those that were in its cache; absent when the engine does not report them.
    #[prost(uint64, optional, tag = "4")]
    pub cached_tokens: ::core::option::Option<u64>,
    /// Tokens of the response; absent when the request has none.
    #[prost(uint64, optional, tag = "5")]
    pub output_tokens: ::core::option::Option<u64>,
    /// The endpoint that served it.
    #[prost(fixed64, tag = "6")]
    pub endpoint: u64,
    /// Parts of the prompt that are not text, by kind: images, audio, video, files.
    #[prost(uint32, repeated, tag = "7")]
    pub media: ::prost::alloc::vec::Vec<u32>,
    /// Tokens that the endpoint should have held by what the sender knew.
    #[prost(uint64, tag = "8")]
    pub expected_cached_tokens: u64,
    /// Tokens of the prompt by the sender's estimate.
    #[prost(uint64, tag = "9")]
    pub expected_prompt_tokens: u64,
    /// Prefill work before the first token, as in Outcome, with the request's own work by the engine's count.
    #[prost(uint64, optional, tag = "10")]
    pub work_ahead: ::core::option::Option<u64>,
    /// Time from dispatch to the first token, in microseconds.
    #[prost(uint64, tag = "11")]
    pub ttft_us: u64,
}
/// The proxy processes that have sent requests in the last minute.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Proxies {
    /// In ascending order.
    #[prost(fixed64, repeated, tag = "1")]
    pub processes: ::prost::alloc::vec::Vec<u64>,
}
/// The controller is alive, and what it has published of engines is as of now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Current {}
/// What changed in one engine's KV tiers. `removed` is applied first. A cell is held with all cells before it in its chain: the
/// sender withholds those behind a gap.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Reported {
    /// The endpoint.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// The tier from which the chain up to each of `stored` can be had: the lowest one of its cells.
    #[prost(enumeration = "Tier", tag = "2")]
    pub tier: i32,
    /// Cells that it holds from now on. One that it had in another tier moves.
    #[prost(fixed64, repeated, tag = "3")]
    pub stored: ::prost::alloc::vec::Vec<u64>,
    /// Cells that it holds in no tier any more.
    #[prost(fixed64, repeated, tag = "4")]
    pub removed: ::prost::alloc::vec::Vec<u64>,
}
/// How far the reports of one engine can be relied on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Reporting {
    /// The endpoint. 0: every endpoint; what is known of reports begins here.
    #[prost(fixed64, tag = "1")]
    pub endpoint: u64,
    /// What can be relied on from now on.
    #[prost(enumeration = "Trust", tag = "2")]
    pub trust: i32,
    /// Whether all cells that it reported are void: its cache was cleared, or is another one.
    #[prost(bool, tag = "3")]
    pub is_cleared: bool,
}
/// How a pool wakes: how long it takes until it has an endpoint, as the controller has learned, and whether more follow.
#[derive(Clone, PartialEq, Eq, Hash, ::prost::Message)]
pub struct WakeTime {
    /// The pool's name.
    #[prost(string, tag = "1")]
    pub pool: ::prost::alloc::string::String,
    /// Time that it usually takes from the first held request, in milliseconds. Zero: not known.
    #[prost(uint64, tag = "2")]
    pub usual_ms: u64,
    /// Time since it began to wake, in milliseconds. Absent: it does not wake now.
    #[prost(uint64, optional, tag = "3")]
    pub passed_ms: ::core::option::Option<u64>,
    /// Whether more engines are about to take its requests: they start, or wake.
    #[prost(bool, tag = "4")]
    pub is_growing: bool,
}
/// A response that an engine keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct Stored {
    /// XXH3-64 of the response's id.
    #[prost(fixed64, tag = "1")]
    pub response: u64,
    /// The endpoint that keeps it.
    #[prost(fixed64, tag = "2")]
    pub endpoint: u64,
}
/// How long it took until a decode endpoint had the KV of a prompt from a prefill endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct TransferSeen {
    /// The endpoint that computed it: XXH3-64 of its `ip:port`.
    #[prost(fixed64, tag = "1")]
    pub prefill: u64,
    /// The endpoint that decodes.
    #[prost(fixed64, tag = "2")]
    pub decode: u64,
    /// Tokens of the prompt that were transferred.
    #[prost(uint64, tag = "3")]
    pub tokens: u64,
    /// From the dispatch of the decode leg to its first token, in microseconds.
    #[prost(uint64, tag = "4")]
    pub us: u64,
}
/// What a Down message is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Phase {
    /// Changes: apply them.
    Delta = 0,
    /// A snapshot starts: the receiver's generation is void until DONE. The prefixes that it has learned stay, for they
    /// are hints, and the hints of both sides add up.
    Begin = 1,
    /// A part of a snapshot: apply it.
    Item = 2,
    /// The snapshot is complete: the receiver is at the generation of this message.
    Done = 3,
    /// The changes since the generation that the proxy asked for: apply them. No snapshot is needed.
    Resumed = 4,
}
impl Phase {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Delta => "PHASE_DELTA",
            Self::Begin => "PHASE_BEGIN",
            Self::Item => "PHASE_ITEM",
            Self::Done => "PHASE_DONE",
            Self::Resumed => "PHASE_RESUMED",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "PHASE_DELTA" => Some(Self::Delta),
            "PHASE_BEGIN" => Some(Self::Begin),
            "PHASE_ITEM" => Some(Self::Item),
            "PHASE_DONE" => Some(Self::Done),
            "PHASE_RESUMED" => Some(Self::Resumed),
            _ => None,
        }
    }
}
/// How a decode engine gets the KV that a prefill engine has computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum TransferProtocol {
    /// vLLM with a connector that reads (NIXL): the response of the prefill leg names the blocks, and the decode engine pulls
    /// them.
    Pull = 0,
    /// SGLang: both legs run at once and meet in a room of the prefill engine's bootstrap server.
    Bootstrap = 1,
    /// TensorRT-LLM: the response of the context's engine goes to the generation's.
    ContextFirst = 2,
    /// vLLM with a connector that writes (Mooncake): both legs run at once, and the prefill engine writes.
    Push = 3,
}
impl TransferProtocol {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Pull => "TRANSFER_PROTOCOL_PULL",
            Self::Bootstrap => "TRANSFER_PROTOCOL_BOOTSTRAP",
            Self::ContextFirst => "TRANSFER_PROTOCOL_CONTEXT_FIRST",
            Self::Push => "TRANSFER_PROTOCOL_PUSH",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "TRANSFER_PROTOCOL_PULL" => Some(Self::Pull),
            "TRANSFER_PROTOCOL_BOOTSTRAP" => Some(Self::Bootstrap),
            "TRANSFER_PROTOCOL_CONTEXT_FIRST" => Some(Self::ContextFirst),
            "TRANSFER_PROTOCOL_PUSH" => Some(Self::Push),
            _ => None,
        }
    }
}
/// The legs of a request that an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Role {
    /// Whole requests, and each leg.
    Both = 0,
    /// Prefill legs only.
    Prefill = 1,
    /// Decode legs, and whole requests.
    Decode = 2,
}
impl Role {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Both => "ROLE_BOTH",
            Self::Prefill => "ROLE_PREFILL",
            Self::Decode => "ROLE_DECODE",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "ROLE_BOTH" => Some(Self::Both),
            "ROLE_PREFILL" => Some(Self::Prefill),
            "ROLE_DECODE" => Some(Self::Decode),
            _ => None,
        }
    }
}
/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Health {
    /// It was not scraped yet: it may be chosen.
    Unknown = 0,
    /// The last scrape succeeded.
    Healthy = 1,
    /// Several scrapes in a row failed, while others of the pool succeed. It is not chosen, unless a response came from it
    /// a moment ago or the whole pool is so.
    Unhealthy = 2,
    /// Nobody listens at its address, and the scrapes of all others of the pool fail, too: the engines do not run yet, or no more.
    /// It is chosen where the whole pool is so, unless requests may wait until that has an endpoint.
    Absent = 3,
}
impl Health {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Unknown => "HEALTH_UNKNOWN",
            Self::Healthy => "HEALTH_HEALTHY",
            Self::Unhealthy => "HEALTH_UNHEALTHY",
            Self::Absent => "HEALTH_ABSENT",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "HEALTH_UNKNOWN" => Some(Self::Unknown),
            "HEALTH_HEALTHY" => Some(Self::Healthy),
            "HEALTH_UNHEALTHY" => Some(Self::Unhealthy),
            "HEALTH_ABSENT" => Some(Self::Absent),
            _ => None,
        }
    }
}
/// What a held request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum HeldFor {
    /// An endpoint: its pool has none.
    Endpoint = 0,
    /// Room in the KV cache of an engine.
    Room = 1,
}
impl HeldFor {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Endpoint => "HELD_FOR_ENDPOINT",
            Self::Room => "HELD_FOR_ROOM",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "HELD_FOR_ENDPOINT" => Some(Self::Endpoint),
            "HELD_FOR_ROOM" => Some(Self::Room),
            _ => None,
        }
    }
}
/// What an outcome says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum OutcomeClass {
    /// Nothing: the client left, or Envoy tried elsewhere before a response.
    None = 0,
    /// The first token of a successful response: the endpoint holds the prompt.
    Served = 1,
    /// The request was wrong in itself.
    Refused = 2,
    /// The endpoint does not know the model, the path or the key: the client's fault unless others of the pool know them.
    Rejected = 3,
    /// It is full.
    Full = 4,
    /// It failed internally.
    Faulty = 5,
    /// No response: it could not be reached, or the connection broke.
    Unreachable = 6,
    /// No response for far longer than its work takes.
    Silent = 7,
    /// A successful response that ended without a token.
    Empty = 8,
}
impl OutcomeClass {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::None => "OUTCOME_CLASS_NONE",
            Self::Served => "OUTCOME_CLASS_SERVED",
            Self::Refused => "OUTCOME_CLASS_REFUSED",
            Self::Rejected => "OUTCOME_CLASS_REJECTED",
            Self::Full => "OUTCOME_CLASS_FULL",
            Self::Faulty => "OUTCOME_CLASS_FAULTY",
            Self::Unreachable => "OUTCOME_CLASS_UNREACHABLE",
            Self::Silent => "OUTCOME_CLASS_SILENT",
            Self::Empty => "OUTCOME_CLASS_EMPTY",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "OUTCOME_CLASS_NONE" => Some(Self::None),
            "OUTCOME_CLASS_SERVED" => Some(Self::Served),
            "OUTCOME_CLASS_REFUSED" => Some(Self::Refused),
            "OUTCOME_CLASS_REJECTED" => Some(Self::Rejected),
            "OUTCOME_CLASS_FULL" => Some(Self::Full),
            "OUTCOME_CLASS_FAULTY" => Some(Self::Faulty),
            "OUTCOME_CLASS_UNREACHABLE" => Some(Self::Unreachable),
            "OUTCOME_CLASS_SILENT" => Some(Self::Silent),
            "OUTCOME_CLASS_EMPTY" => Some(Self::Empty),
            _ => None,
        }
    }
}
/// Where an engine keeps KV. The lower, the longer it takes to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Tier {
    /// On the GPU.
    Gpu = 0,
    /// In the memory of its host.
    Cpu = 1,
    /// On a disk.
    Disk = 2,
    /// In a store that several engines share.
    Remote = 3,
}
impl Tier {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::Gpu => "TIER_GPU",
            Self::Cpu => "TIER_CPU",
            Self::Disk => "TIER_DISK",
            Self::Remote => "TIER_REMOTE",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "TIER_GPU" => Some(Self::Gpu),
            "TIER_CPU" => Some(Self::Cpu),
            "TIER_DISK" => Some(Self::Disk),
            "TIER_REMOTE" => Some(Self::Remote),
            _ => None,
        }
    }
}
/// What can be relied on of an engine's reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ::prost::Enumeration)]
#[repr(i32)]
pub enum Trust {
    /// Nothing is reported: what its endpoint holds is learned.
    None = 0,
    /// All that it holds is reported.
    Whole = 1,
    /// What it reported is true, and it may hold more, from before the first report.
    Partial = 2,
    /// Reports are missing or late: what its endpoint holds is learned, until that is mended.
    Suspect = 3,
}
impl Trust {
    /// String value of the enum field names used in the ProtoBuf definition.
    ///
    /// The values are not transformed in any way and thus are considered stable
    /// (if the ProtoBuf definition does not change) and safe for programmatic use.
    pub fn as_str_name(&self) -> &'static str {
        match self {
            Self::None => "TRUST_NONE",
            Self::Whole => "TRUST_WHOLE",
            Self::Partial => "TRUST_PARTIAL",
            Self::Suspect => "TRUST_SUSPECT",
        }
    }
    /// Creates an enum from field names used in the ProtoBuf definition.
    pub fn from_str_name(value: &str) -> ::core::option::Option<Self> {
        match value {
            "TRUST_NONE" => Some(Self::None),
            "TRUST_WHOLE" => Some(Self::Whole),
            "TRUST_PARTIAL" => Some(Self::Partial),
            "TRUST_SUSPECT" => Some(Self::Suspect),
            _ => None,
        }
    }
}
