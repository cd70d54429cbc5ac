//! What an operator asks of the scaler: raw, as it was written, and validated.
//!
//! All contradictions are reported at once, each with its field and what to do, because whoever mends one at a time needs as many
//! attempts as there are.

use std::fmt;
use thiserror::Error;

/// The objective of first tokens where none is set, in seconds.
const TTFT_S_DEFAULT: f64 = 2.0;
/// The objective of the time between tokens where none is set, in seconds: ten tokens a second are read as fast as they come.
const INTER_TOKEN_S_DEFAULT: f64 = 0.1;
/// The idle time where none is set, in seconds.
const IDLE_S_DEFAULT: f64 = 600.0;
/// Replicas that a role may have at most.
pub const REPLICAS_MAX: u32 = 1024;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawPolicy {
    /// The bounds of each role, with the role's field.
    pub roles: Vec<(String, RawBounds)>,
    /// Whether all roles may go to zero when nothing is requested.
    pub scale_to_zero: bool,
    /// For how long nothing must have been requested, in seconds.
    pub idle_s: Option<f64>,
    /// Whether engines then sleep in place of leaving.
    pub sleeps: bool,
    /// The time to the first token that nine of ten requests should have, in milliseconds.
    pub ttft_ms: Option<u32>,
    /// The time between tokens that nine of ten responses should have, in milliseconds.
    pub inter_token_ms: Option<u32>,
}

/// The bounds of a role, as they were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawBounds {
    /// `replicas.min`.
    pub min: i32,
    /// `replicas.max`.
    pub max: Option<i32>,
}

/// What can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The bounds of each role, in the order of [`Seen`](crate::Seen).
    pub roles: Vec<Bounds>,
    /// Seconds without a request after which all roles go to zero; `None`: they do not.
    pub idle_s: Option<f64>,
    /// Whether engines then sleep in place of leaving: they are back within seconds.
    pub sleeps: bool,
    /// What nine of ten requests should have.
    pub objectives: Objectives,
}

/// The least and the most replicas of a role while it is not at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At least one.
    pub min: u32,
    /// At least `min`.
    pub max: u32,
}

/// What nine of ten requests should have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objectives {
    /// The time to the first token, in seconds.
    pub ttft_s: f64,
    /// The mean time between tokens, in seconds.
    pub inter_token_s: f64,
}

/// A contradiction.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct Problem {
    /// The field.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
}

// === impl Policy ===

impl Policy {
    /// Validates what was written.
    pub fn of(raw: &RawPolicy) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut add = |field: String, message: fmt::Arguments<'_>| {
            problems.push(Problem { field, message: message.to_string() });
        };
        for (field, bounds) in &raw.roles {
            let (min, max) = (bounds.min, bounds.max.unwrap_or(bounds.min));
            if min < 0 {
                add(format!("{field}.replicas.min"), format_args!("{min} is less than 0"));
            }
            if max < min {
                add(format!("{field}.replicas.max"), format_args!("must be at least min, which is {min}"));
            }
            if max < 1 {
                add(
                    format!("{field}.replicas.max"),
                    format_args!("must be at least 1: a role that never has a replica serves nothing"),
                );
            }
            if min == 0 && !raw.scale_to_zero {
                add(
                    format!("{field}.replicas.min"),
                    format_args!(
                        "is 0, but nothing may scale to zero: set autoscaling.scaleToZero, or min to 1"
                    ),
                );
            }
        }
        let has_zero = raw.roles.iter().any(|(_, bounds)| bounds.min > 0) && raw.scale_to_zero;
        if has_zero && raw.roles.iter().any(|(_, bounds)| bounds.min == 0) {
            add(
                "roles".to_owned(),
                format_args!("roles go to zero together: set replicas.min of all to 0, or of none"),
            );
        }
        if raw.idle_s.is_some_and(|idle_s| !idle_s.is_finite() || idle_s <= 0.0) {
            add("autoscaling.idleSeconds".to_owned(), format_args!("must be above 0"));
        }
        if raw.idle_s.is_some() && !raw.scale_to_zero {
            add(
                "autoscaling.idleSeconds".to_owned(),
                format_args!("nothing scales to zero: set scaleToZero, or remove it"),
            );
        }
        for (field, value) in [
            ("objectives.ttftMilliseconds", raw.ttft_ms),
            ("objectives.interTokenMilliseconds", raw.inter_token_ms),
        ] {
            if value == Some(0) {
                add(field.to_owned(), format_args!("must be above 0"));
            }
        }
        if problems.is_empty() { Ok(Self::valid(raw)) } else { Err(problems) }
    }

    fn valid(raw: &RawPolicy) -> Self {
        let bounds = |bounds: &RawBounds| {
            let replicas = |count: i32| u32::try_from(count).unwrap_or(0).clamp(1, REPLICAS_MAX);
            Bounds { min: replicas(bounds.min), max: replicas(bounds.max.unwrap_or(bounds.min)) }
        };
        let seconds = |ms: Option<u32>, default_s: f64| ms.map_or(default_s, |ms| f64::from(ms) / 1e3);
        Self {
            roles: raw.roles.iter().map(|(_, of)| bounds(of)).collect(),
            idle_s: raw.scale_to_zero.then_some(raw.idle_s.unwrap_or(IDLE_S_DEFAULT)),
            sleeps: raw.sleeps,
            objectives: Objectives {
                ttft_s: seconds(raw.ttft_ms, TTFT_S_DEFAULT),
                inter_token_s: seconds(raw.inter_token_ms, INTER_TOKEN_S_DEFAULT),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, Policy, RawBounds, RawPolicy};

    fn raw(bounds: &[(i32, Option<i32>)]) -> RawPolicy {
        let role = |(at, (min, max)): (usize, &(i32, Option<i32>))| {
            (format!("spec.roles.{at}"), RawBounds { min: *min, max: *max })
        };
        RawPolicy { roles: bounds.iter().enumerate().map(role).collect(), ..RawPolicy::default() }
    }

    #[test]
    fn bounds_that_contradict_each_other_are_all_reported_with_their_fields() {
        let bad = RawPolicy {
            ttft_ms: Some(0),
            idle_s: Some(f64::NAN),
            ..raw(&[(3, Some(2)), (0, Some(0)), (-1, None)])
        };
        let problems = Policy::of(&bad).unwrap_err();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.roles.0.replicas.max",
                "spec.roles.1.replicas.max",
                "spec.roles.1.replicas.min",
                "spec.roles.2.replicas.min",
                "spec.roles.2.replicas.max",
                "autoscaling.idleSeconds",
                "autoscaling.idleSeconds",
                "objectives.ttftMilliseconds",
            ]
        );
        assert_eq!(problems[0].to_string(), "spec.roles.0.replicas.max: must be at least min, which is 3");
    }

    #[test]
    fn a_role_that_stays_while_the_other_goes_to_zero_is_refused() {
        let half = RawPolicy { scale_to_zero: true, ..raw(&[(0, Some(4)), (1, Some(4))]) };
        assert_eq!(Policy::of(&half).unwrap_err()[0].field, "roles");
    }

    #[test]
    fn what_is_not_written_has_a_default() {
        let policy = Policy::of(&RawPolicy { scale_to_zero: true, ..raw(&[(0, Some(4))]) }).unwrap();
        assert_eq!(policy.roles, [Bounds { min: 1, max: 4 }]);
        assert_eq!(policy.idle_s, Some(600.0));
        let policy = Policy::of(&raw(&[(2, None)])).unwrap();
        assert_eq!((policy.roles, policy.idle_s), (vec![Bounds { min: 2, max: 2 }], None));
    }
}
