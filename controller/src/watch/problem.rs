//! Problems of objects in the cluster, in words: for the log, `/state`, and the status of pools.

use crate::config::ObjectName;
use std::fmt;

/// An object that does not do what its author must have meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// No pod has the pool's labels.
    NoPods {
        /// The pool.
        pool: ObjectName,
    },
    /// The API server does not list its pods.
    Unseen {
        /// The pool.
        pool: ObjectName,
        /// Its error.
        why: String,
    },
    /// Pods have the labels, but none gets requests.
    NoneReady {
        /// The pool.
        pool: ObjectName,
        /// How many there are.
        pods: usize,
    },
    /// The pool's specification cannot be used.
    Invalid {
        /// The pool, rewrite or objective.
        object: ObjectName,
        /// The fault, with the path of its field.
        what: String,
    },
    /// Another pool has the same name, and is used.
    Shadowed {
        /// The pool.
        pool: ObjectName,
    },
    /// An endpoint of the pool is in another one, too.
    Overlap {
        /// The pool.
        pool: ObjectName,
        /// The other one.
        other: ObjectName,
    },
    /// It refers to a pool that is not there.
    NoSuchPool {
        /// The rewrite or objective.
        object: ObjectName,
        /// The pool.
        pool: ObjectName,
    },
    /// It exceeds one of the controller's bounds, and is left out.
    TooMany {
        /// The pool.
        pool: ObjectName,
        /// What there are too many of.
        of: &'static str,
        /// The bound.
        max: usize,
    },
}

// === impl Problem ===

impl Problem {
    /// Its name in metrics and pages.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoPods { .. } => "no_pods",
            Self::Unseen { .. } => "unseen",
            Self::NoneReady { .. } => "none_ready",
            Self::Invalid { .. } => "invalid",
            Self::Shadowed { .. } => "shadowed",
            Self::Overlap { .. } => "overlap",
            Self::NoSuchPool { .. } => "no_such_pool",
            Self::TooMany { .. } => "too_many",
        }
    }

    /// The pool, rewrite or objective that it is about.
    pub fn object(&self) -> &ObjectName {
        match self {
            Self::NoPods { pool }
            | Self::Unseen { pool, .. }
            | Self::NoneReady { pool, .. }
            | Self::Shadowed { pool }
            | Self::Overlap { pool, .. }
            | Self::TooMany { pool, .. } => pool,
            Self::Invalid { object, .. } | Self::NoSuchPool { object, .. } => object,
        }
    }

    /// All labels.
    pub const LABELS: [&'static str; 8] =
        ["no_pods", "unseen", "none_ready", "invalid", "shadowed", "overlap", "no_such_pool", "too_many"];
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPods { pool } => write!(f, "{pool}: no pod has the labels of its selector"),
            Self::Unseen { pool, why } => write!(f, "{pool}: its pods cannot be listed: {why}"),
            Self::NoneReady { pool, pods } => {
                write!(f, "{pool}: none of its {pods} pods is ready: see `kubectl describe pod`")
            }
            Self::Invalid { object, what } => write!(f, "{object}: {what}"),
            Self::Shadowed { pool } => {
                write!(f, "{pool}: another pool of this name takes precedence; remove one of them")
            }
            Self::Overlap { pool, other } => write!(
                f,
                "{pool}: some of its endpoints are also in {other}: their load and cache count for both; give each pool \
                 labels that select no other pool's pods"
            ),
            Self::NoSuchPool { object, pool } => write!(f, "{object}: there is no pool {pool}"),
            Self::TooMany { pool, of, max } => write!(f, "{pool}: left out, there are more than {max} {of}"),
        }
    }
}
