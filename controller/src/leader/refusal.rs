//! Why a lease cannot be used, and what the log says of it.

use crate::config::ObjectName;
use http::StatusCode;
use tracing::Level;

/// Why a lease cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Somebody else has written it first.
    Changed,
    /// The lease does not exist any more, or its namespace does not.
    Absent,
    /// The role does not allow it.
    Role,
    /// The API server cannot be reached, or fails.
    Away,
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn of(error: &kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Away };
        match StatusCode::from_u16(status.code) {
            Ok(StatusCode::CONFLICT) => Self::Changed,
            Ok(StatusCode::NOT_FOUND) => Self::Absent,
            Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Self::Role,
            _ => Self::Away,
        }
    }

    pub(super) fn log(self, lease: &ObjectName, error: &kube::Error, was_allowed: bool) {
        let message = if let kube::Error::Api(status) = error { status.message.as_str() } else { "" };
        match self.remark(was_allowed) {
            (Level::ERROR, remark) => tracing::error!(%lease, message, "{remark}"),
            (Level::WARN, remark) => tracing::warn!(%lease, message, "{remark}"),
            (_, remark) => tracing::debug!(%lease, %error, "{remark}"),
        }
    }

    /// The level and the message. Only a warning where the role has gone: an uninstall removes it before the controller.
    fn remark(self, was_allowed: bool) -> (Level, &'static str) {
        match self {
            Self::Changed => (Level::DEBUG, "another replica was faster"),
            Self::Absent => (Level::WARN, "the lease's namespace does not exist"),
            Self::Role if was_allowed => (
                Level::WARN,
                "the lease can no longer be used: the controller's role has gone or has changed",
            ),
            Self::Role => (
                Level::ERROR,
                "the lease cannot be used: the controller's role needs get, create and update for leases",
            ),
            Self::Away => (Level::DEBUG, "the API server cannot be reached"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use kube::core::Status;
    use tracing::Level;

    #[test]
    fn a_role_that_an_uninstall_took_is_not_said_to_lack_verbs() {
        let forbidden = kube::Error::Api(Status { code: 403, ..Status::default() }.boxed());
        let refusal = Refusal::of(&forbidden);
        let (level, text) = refusal.remark(true);
        assert!(level == Level::WARN && !text.contains("needs"), "{text}");
        let (level, text) = refusal.remark(false);
        assert!(level == Level::ERROR && text.contains("needs"), "{text}");
    }
}
