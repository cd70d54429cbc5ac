//! What the log says of a watch that fails.

use super::facts::{Shown, Source, SourceState};
use tracing::Level;

/// Logs the state that a watch has come to.
pub(super) fn log_failure(source: &Source, shown: &Shown, state: &SourceState) {
    let resource = source.kind.label();
    let namespace = source.namespace.as_deref().unwrap_or("all namespaces");
    let message = match state {
        SourceState::Forbidden(message) | SourceState::Failing(message) => message.as_str(),
        SourceState::Pending | SourceState::Synced | SourceState::Missing => "",
    };
    match remark(shown.is_known, state) {
        (Level::ERROR, remark) => tracing::error!(resource, namespace, message, "{remark}"),
        (Level::WARN, remark) => tracing::warn!(resource, namespace, message, "{remark}"),
        (_, remark) => tracing::info!(resource, "{remark}"),
    }
}

/// The level and the message. Only a warning where the role has gone: an uninstall removes it before the controller.
fn remark(was_known: bool, state: &SourceState) -> (Level, &'static str) {
    match state {
        SourceState::Forbidden(_) if was_known => (
            Level::WARN,
            "the controller may no longer list and watch this: its role has gone or has changed; what is known stays",
        ),
        SourceState::Forbidden(_) => (
            Level::ERROR,
            "the controller may not list and watch this: give its role the verbs get, list and watch",
        ),
        SourceState::Failing(_) => (Level::WARN, "a watch failed: what is known stays"),
        SourceState::Pending | SourceState::Synced | SourceState::Missing => {
            (Level::INFO, "the API server does not know this kind: trying again later")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SourceState, remark};
    use tracing::Level;

    #[test]
    fn a_role_that_an_uninstall_took_is_not_said_to_lack_verbs() {
        let forbidden = SourceState::Forbidden(String::new());
        let (level, text) = remark(true, &forbidden);
        assert!(level == Level::WARN && !text.contains("verbs"), "{text}");
        let (level, text) = remark(false, &forbidden);
        assert!(level == Level::ERROR && text.contains("give its role the verbs"), "{text}");
    }
}
