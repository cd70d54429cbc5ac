//! The legs that each engine of an arm takes.

use crate::arm::Arm;
use warmpath_engine::{LoadFailure, Role, Transfer, TransferProtocol};

/// The legs of engine `number` of `engines`; `None`: the arm's engines pass no KV on.
pub(super) fn role(arm: Arm, number: usize, engines: usize) -> Option<Role> {
    match arm {
        Arm::RoundRobin | Arm::LeastRequest | Arm::Warmpath | Arm::Together | Arm::AllAtOnce | Arm::Held => {
            None
        }
        Arm::Apart if number < engines / 2 => Some(Role::Prefill),
        Arm::Apart => Some(Role::Decode),
        Arm::Either => Some(Role::Both),
    }
}

/// The same as the engine has it. Each has the flags of the guide, with which it could take any leg: only the pool knows roles.
pub(super) fn transfer(arm: Arm, number: usize, engines: usize) -> Option<Transfer> {
    let nixl = Transfer { load_failure: LoadFailure::Recompute, ..Transfer::new(TransferProtocol::Nixl) };
    role(arm, number, engines).map(|_| nixl)
}
