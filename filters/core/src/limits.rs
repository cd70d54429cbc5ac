//! Every maximum of the core, with its unit and reason. Beyond one, the core does less and reports it.

/// Bytes of prompt text in one cell, by default. About 64 tokens: a vLLM block has 16 to 64 tokens, so a finer cell
/// would resolve more than engines cache.
pub const CELL_BYTES_DEFAULT: usize = 256;
/// The smallest cell that may be configured: below it the chain costs more than the text.
pub const CELL_BYTES_MIN: usize = 32;
/// The largest cell that may be configured.
pub const CELL_BYTES_MAX: usize = 4096;

/// Cells hashed of one prompt: 1 MiB of text at the default size, about 256k tokens. A longer prompt is
/// matched by its first mebibyte.
pub const CELLS_PER_PROMPT_MAX: usize = 4096;

/// Messages, parts or prompts read of one list in a body. Each contributes some 16 bytes of text or more: that many fill
/// all cells of the default size.
pub const PROMPT_ITEMS_MAX: usize = 65_536;
/// Token ids read of one prompt; four bytes each, they fill all cells of the default size.
pub const PROMPT_TOKENS_READ_MAX: usize = CELLS_PER_PROMPT_MAX * CELL_BYTES_DEFAULT / 4;

/// Request body that is read for its prompt, in bytes. A larger one is routed by load.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Request body that is read for its model where there are several pools, in bytes: what Envoy keeps of one with the
/// shipped configuration. A model may stand behind all images, and of equal keys the last counts.
pub const BODY_BYTES_KEPT_MAX: usize = 64 * 1024 * 1024;

/// Pools behind one proxy.
pub const POOLS_MAX: usize = 256;
/// Endpoints over all pools of one view; a [`crate::ids::Slot`] must be able to name each.
pub const ENDPOINTS_MAX: usize = 8192;
/// Models (and adapters) that one pool may serve.
pub const MODELS_PER_POOL_MAX: usize = 1024;
/// Length of a pool's, a model's or a cluster's name, in bytes.
pub const NAME_BYTES_MAX: usize = crate::json::NAME_BYTES_MAX;

/// Pools up to this size are examined whole; larger ones by their holders and a sample.
pub const SCAN_ENDPOINTS_MAX: usize = 32;
/// Endpoints drawn at random in addition to the holders in a large pool. With d = 8 the best of the sample is in the best
/// third of the pool with 96 % probability, and a decision costs the same in a pool of any size.
pub const SAMPLE_ENDPOINTS: usize = 8;

/// Proxies that take turns, and streams that one controller serves: with full backlogs and snapshots under way, each
/// may cost it tens of megabytes.
pub const PROXIES_MAX: usize = 1024;

/// Alternates that may follow the chosen endpoint, so that a retry goes to the next best.
pub const ALTERNATES_MAX: usize = 7;
/// The default number of alternates: with Envoy's three retries, each attempt has its own.
pub const ALTERNATES_DEFAULT: usize = 3;

/// Assumed KV capacity of the GPU of an endpoint without metrics, in tokens.
pub const CAPACITY_TOKENS_DEFAULT: u64 = 300_000;
/// KV tokens below the GPU that may be configured for each engine of a pool: 70 TB of DeepSeek-V3, of whose tokens each
/// takes 70 KB, and more of most others. A larger number is most likely in bytes.
pub const KV_BELOW_GPU_TOKENS_MAX: u64 = 1_000_000_000;
/// Bytes of prompt text per token until `usage` of responses is observed.
pub const BYTES_PER_TOKEN_DEFAULT: f64 = 4.0;

/// Cells that all endpoints of one view together may hold; each gets at most an equal share: 16 million tokens for each
/// of eight endpoints.
pub const CELLS_PER_VIEW_MAX: usize = 2 * 1024 * 1024;
/// Memory of one view's prefix tree, in bytes; each endpoint gets an equal share. Every worker has a view. So many bytes hold
/// all of those cells where prompts continue each other by five cells or more, and a quarter of them in prompts of one cell.
pub const VIEW_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Those of them that reports of engines may take. While they do, learned prefixes, which count less then, have the rest.
pub const REPORTED_BYTES_MAX: usize = VIEW_BYTES_MAX / 4 * 3;
/// Bytes that one reported cell takes at one endpoint, at most: with the table half empty, or as one of two holders of a cell.
pub const REPORTED_CELL_BYTES: usize = 36;
/// Reported cells of all endpoints of one view: 1.4 million, of 89 million tokens. Beyond, the reports of an endpoint whose cells have no room
/// count as partial.
pub const REPORTED_CELLS_MAX: usize = REPORTED_BYTES_MAX / REPORTED_CELL_BYTES;

/// The longest time that a request may be held, in seconds: an hour. Nobody waits longer for a pool that wakes.
pub const HOLD_S_MAX: u32 = 3_600;
/// Requests that one process holds, by default.
pub const HOLD_REQUESTS_DEFAULT: u64 = 1_000;
/// The largest number of them that may be configured: each takes some 2 KB of its VM.
pub const HOLD_REQUESTS_MAX: u64 = 100_000;
/// Bytes of their bodies that one process holds, by default: an eighth of the memory at which the shipped Envoy refuses requests.
pub const HOLD_BODY_BYTES_DEFAULT: u64 = 512 * 1024 * 1024;
/// The largest number of them that may be configured.
pub const HOLD_BODY_BYTES_MAX: u64 = 1 << 40;
/// Tenants with a weight of their own in one pool.
pub const TENANTS_PER_POOL_MAX: usize = 1024;
/// The largest weight of a tenant.
pub const TENANT_WEIGHT_MAX: u32 = 1_000;

/// Requests that one origin is believed to have at one endpoint.
pub const LOAD_REQUESTS_MAX: u32 = 1 << 16;
/// Tokens that one origin is believed to have at one endpoint.
pub const LOAD_TOKENS_MAX: u64 = 1 << 40;

/// How long the bookings of an origin that fell silent still count, in milliseconds. Origins with
/// requests in flight report at least every [`ALIVE_INTERVAL_MS`].
pub const ORIGIN_SILENCE_MS_MAX: u64 = 5_000;
/// How often an origin with requests in flight reports them, in milliseconds.
pub const ALIVE_INTERVAL_MS: u64 = 1_000;

/// One encoded event on the wire or in shared data, in bytes. A full chain is
/// `8 * CELLS_PER_PROMPT_MAX` bytes; a set of pools of [`ENDPOINTS_MAX`] endpoints is the largest.
pub const EVENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Events carried in one message of the state stream.
pub const EVENTS_PER_MESSAGE_MAX: usize = 4096;
/// One message of the state stream, in bytes, before a further event opens the next message.
pub const MESSAGE_BYTES_SOFT_MAX: usize = 256 * 1024;

const _: () = assert!(CELL_BYTES_MIN <= CELL_BYTES_DEFAULT && CELL_BYTES_DEFAULT <= CELL_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX <= BODY_BYTES_KEPT_MAX);
const _: () = assert!(CELLS_PER_PROMPT_MAX * 8 < EVENT_BYTES_MAX);
const _: () = assert!(CELLS_PER_PROMPT_MAX < 65_536, "a holding counts its cells in 16 bits");
const _: () = assert!(ENDPOINTS_MAX < 65_536, "a slot has 16 bits");
const _: () = assert!(CELLS_PER_VIEW_MAX / ENDPOINTS_MAX > 0, "every endpoint may hold a cell");
const _: () = assert!(SAMPLE_ENDPOINTS < SCAN_ENDPOINTS_MAX);
const _: () = assert!(ALTERNATES_DEFAULT <= ALTERNATES_MAX);
const _: () = assert!(ALIVE_INTERVAL_MS * 3 < ORIGIN_SILENCE_MS_MAX);
