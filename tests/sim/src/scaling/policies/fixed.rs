//! A fixed number of engines.

use super::{Policy, View, Wanted};

/// See the module.
pub(super) struct Fixed(pub(super) u32);

impl Policy for Fixed {
    fn look(&mut self, _: &View) -> Wanted {
        Wanted { replicas: self.0, leaving_first: Vec::new() }
    }
}
