//! The gate of a pool, as a value: events go in, verdicts come out.
//!
//! ```text
//!   places     whose place goes to whom               histories   generated: footprints count once, whatever happened
//!   shares     the same among tenants                 closed_loop generated: nobody waits for longer than the longest wait
//!   order      who goes on first, and when            switch      when the gate holds anybody at all
//!   found      what a turn has found, in a view       played      a gate at one engine, for places, shares, order and switch
//! ```
//!
//! Requests that are held by a router have their tests in tests/router; what the gate gains is for tests/sim to say.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod closed_loop;
mod found;
mod histories;
mod order;
mod places;
mod played;
mod shares;
mod switch;
