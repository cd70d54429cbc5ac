//! The status of a ModelService: what its plan says, and what became of the writes. Pure.

use super::apply::Failure;
use super::difference::Contested;
use super::events::{About, Note};
use super::step::Target;
use kube::api::DynamicObject;
use serde_json::Value;
use warmpath_deploy::api::{Condition, ModelServiceStatus, Phase};

/// The condition that says whether the plan could be written.
const APPLIED: &str = "Applied";
/// The field with the replicas of a workload.
const REPLICAS: &str = ".spec.replicas";
/// Fields of others, and objects in trouble, that a message names.
const NAMED_MAX: usize = 3;

/// What became of the writes of a plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// What was changed.
    pub(super) changes: Vec<(&'static str, Target)>,
    /// What others set, which stays so.
    pub(super) contested: Vec<(Target, Vec<Contested>)>,
    /// What failed.
    pub(super) troubles: Vec<Trouble>,
}

/// A write that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The object; `None`: the ModelService's status.
    target: Option<Target>,
    failure: Failure,
}

/// The status to be written; `None`: the ModelService has it already.
pub(super) fn settle(
    mut status: ModelServiceStatus,
    applied: &Applied,
    service: &DynamicObject,
    now: &str,
) -> Option<Value> {
    let generation = service.metadata.generation;
    let old = service.data.get("status");
    // What is not valid is not written.
    if status.phase != Some(Phase::Invalid) {
        status.conditions.push(applied.condition(generation));
    }
    applied.name_other_scalers(&mut status.conditions);
    if !applied.troubles.is_empty() {
        status.message = Some(applied.words());
        if status.phase != Some(Phase::Invalid) && applied.troubles.iter().any(|it| !it.passes()) {
            status.phase = Some(Phase::Degraded);
        }
    }
    for condition in &mut status.conditions {
        condition.observed_generation = generation;
        condition.last_transition_time = since(condition, old).unwrap_or_else(|| now.to_owned());
    }
    status.observed_generation = generation;
    let status = serde_json::to_value(status).unwrap_or_default();
    (old != Some(&status)).then_some(status)
}

/// Since when a condition has its status; `None`: since now.
fn since(condition: &Condition, old: Option<&Value>) -> Option<String> {
    let known = old?.get("conditions")?.as_array()?;
    let text = |it: &Value, field: &str| it.get(field).and_then(Value::as_str).map(str::to_owned);
    let same = known.iter().find(|it| text(it, "type").as_ref() == Some(&condition.kind))?;
    (text(same, "status")? == condition.status).then(|| text(same, "lastTransitionTime"))?
}

// === impl Applied ===

impl Applied {
    fn condition(&self, generation: Option<i64>) -> Condition {
        let (is_applied, reason, message) = if let Some(trouble) = self.troubles.first() {
            (false, trouble.failure.reason(), self.words())
        } else if self.contested.is_empty() {
            (true, "Applied", "everything is written as planned".to_owned())
        } else {
            (false, "FieldsOfOthers", self.words_of_contested())
        };
        Condition {
            kind: APPLIED.to_owned(),
            status: if is_applied { "True" } else { "False" }.to_owned(),
            observed_generation: generation,
            last_transition_time: String::new(),
            reason: reason.to_owned(),
            message,
        }
    }

    /// Where somebody else sets the replicas of a role, the scaler's numbers have no effect.
    fn name_other_scalers(&self, conditions: &mut [Condition]) {
        let replicas = |(target, fields): &(Target, Vec<Contested>)| {
            let field = fields.iter().find(|field| field.path == REPLICAS)?;
            Some(format!("{target} has replicas that {} sets, and keeps them", field.manager))
        };
        let found: Vec<String> = self.contested.iter().filter_map(replicas).collect();
        for condition in conditions.iter_mut().filter(|it| it.kind == "Scaling" && !found.is_empty()) {
            "False".clone_into(&mut condition.status);
            "OtherScaler".clone_into(&mut condition.reason);
            condition.message = format!(
                "{}: remove the other scaler (an HPA or a ScaledObject) and set the replicas once with kubectl scale, which it gives way to, or set spec.autoscaling.external in place of enabled",
                found.join("; ")
            );
        }
    }

    fn words(&self) -> String {
        let words: Vec<String> =
            self.troubles.iter().take(NAMED_MAX).map(|it| format!("{}: {}", it.what(), it.why())).collect();
        joined(words, self.troubles.len())
    }

    fn words_of_contested(&self) -> String {
        let all: Vec<_> = self
            .contested
            .iter()
            .flat_map(|(target, fields)| fields.iter().map(move |field| (target, field)))
            .collect();
        let words = all.iter().take(NAMED_MAX).map(|(target, field)| {
            format!("{target} {} is set by {}, and stays as it is", field.path, field.manager)
        });
        joined(words.collect(), all.len())
    }
}

fn joined(mut words: Vec<String>, of: usize) -> String {
    if of > words.len() {
        words.push(format!("and {} more", of - words.len()));
    }
    words.join("; ")
}

// === impl Trouble ===

impl Trouble {
    pub(super) fn of(target: Target, failure: Failure) -> Self {
        Self { target: Some(target), failure }
    }

    pub(super) fn of_status(failure: Failure) -> Self {
        Self { target: None, failure }
    }

    /// Whether it is about this object.
    pub(super) fn is_of(&self, target: &Target) -> bool {
        self.target.as_ref() == Some(target)
    }

    /// Whether it is about the ModelService's status.
    pub(super) fn is_of_status(&self) -> bool {
        self.target.is_none()
    }

    /// Whether it may pass without anybody doing anything.
    pub(super) fn passes(&self) -> bool {
        matches!(self.failure, Failure::Away(_) | Failure::Contested(_))
    }

    /// Whether it is worth another try soon.
    pub(super) fn ends_soon(&self) -> bool {
        self.passes() || matches!(self.failure, Failure::Webhook(_))
    }

    /// What could not be written.
    pub(super) fn what(&self) -> String {
        self.target.as_ref().map_or_else(|| "its status".to_owned(), Target::to_string)
    }

    /// Why, in words.
    pub(super) fn why(&self) -> String {
        match &self.failure {
            Failure::Foreign => {
                "an object of this name exists that the ModelService does not own: rename or delete one of them".to_owned()
            }
            Failure::Contested(fields) => {
                let names = fields.iter().map(|field| format!("{} of {}", field.path, field.manager));
                format!("others have just set {}", names.collect::<Vec<_>>().join(", "))
            }
            Failure::Absent(message) => format!("the API server does not know it: {message}"),
            Failure::Refused(message) => format!("refused: {message}"),
            Failure::Forbidden(message) => format!("forbidden: {message}"),
            Failure::Webhook(message) => format!("an admission webhook does not respond, so nothing is written: {message}"),
            Failure::Away(message) => format!("the API server is away: {message}"),
        }
    }

    /// The Event for people.
    pub(super) fn note(&self) -> Note {
        Note {
            is_warning: true,
            reason: self.failure.reason().to_owned(),
            about: self.target.clone().map_or_else(|| About::Field("status".to_owned()), About::Object),
            message: format!("{}: {}", self.what(), self.why()),
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Its name in conditions and Events.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Foreign => "NameTaken",
            Self::Contested(_) => "FieldsOfOthers",
            Self::Absent(_) => "KindMissing",
            Self::Refused(_) => "Refused",
            Self::Forbidden(_) => "Forbidden",
            Self::Webhook(_) => "WebhookFails",
            Self::Away(_) => "ApiServerAway",
        }
    }

    /// Its name in metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Contested(_) => "contested",
            Self::Absent(_) => "absent",
            Self::Refused(_) => "refused",
            Self::Forbidden(_) => "forbidden",
            Self::Webhook(_) => "webhook",
            Self::Away(_) => "away",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Applied, Condition, Contested, Failure, Target, Trouble, settle};
    use crate::config::ObjectName;
    use crate::watch::Kind;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};
    use warmpath_deploy::api::{ModelServiceStatus, Phase};

    fn service(status: Option<&Value>) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "warmpath.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": "llama", "generation": 3},
            "status": status,
        }))
        .unwrap()
    }

    fn planned(is_ready: bool) -> ModelServiceStatus {
        let ready = Condition {
            kind: "Ready".to_owned(),
            status: if is_ready { "True" } else { "False" }.to_owned(),
            observed_generation: None,
            last_transition_time: String::new(),
            reason: "R".to_owned(),
            message: String::new(),
        };
        ModelServiceStatus {
            phase: Some(if is_ready { Phase::Ready } else { Phase::Pending }),
            conditions: vec![ready],
            ..ModelServiceStatus::default()
        }
    }

    fn deployment() -> Target {
        let name = ObjectName { namespace: "llm".to_owned(), name: "llama-decode".to_owned() };
        Target { kind: Kind::Deployment, name }
    }

    #[test]
    fn a_status_that_stays_is_written_once_and_a_condition_keeps_its_time() {
        let none = Applied::default();
        let first = settle(planned(false), &none, &service(None), "t1").unwrap();
        assert_eq!(first["conditions"][0]["observedGeneration"], 3);
        assert_eq!(settle(planned(false), &none, &service(Some(&first)), "t2"), None);
        let second = settle(planned(true), &none, &service(Some(&first)), "t2").unwrap();
        let times: Vec<_> = ["Ready", "Applied"]
            .iter()
            .enumerate()
            .map(|(at, kind)| {
                assert_eq!(second["conditions"][at]["type"], *kind);
                second["conditions"][at]["lastTransitionTime"].clone()
            })
            .collect();
        assert_eq!(times, ["t2", "t1"]);
    }

    #[test]
    fn what_fails_is_said_and_what_others_set_is_named() {
        let refused = Applied {
            troubles: vec![Trouble::of(deployment(), Failure::Refused("no".to_owned()))],
            ..Applied::default()
        };
        let status = settle(planned(true), &refused, &service(None), "t").unwrap();
        assert_eq!(status["phase"], "Degraded");
        assert_eq!(status["message"], "Deployment llama-decode: refused: no");
        assert_eq!(status["conditions"][1]["reason"], "Refused");
        let field = Contested { path: ".spec.replicas".to_owned(), manager: "kubectl".to_owned() };
        let contested = Applied { contested: vec![(deployment(), vec![field])], ..Applied::default() };
        let status = settle(planned(true), &contested, &service(None), "t").unwrap();
        assert_eq!(status["phase"], "Ready", "what others set is no fault");
        let message = "Deployment llama-decode .spec.replicas is set by kubectl, and stays as it is";
        assert_eq!(status["conditions"][1]["message"], message);
    }

    #[test]
    fn a_role_whose_replicas_somebody_else_sets_is_said_not_to_be_scaled() {
        let mut status = planned(true);
        let scaling = Condition {
            kind: "Scaling".to_owned(),
            status: "True".to_owned(),
            ..status.conditions[0].clone()
        };
        status.conditions.push(scaling);
        let field =
            Contested { path: ".spec.replicas".to_owned(), manager: "kube-controller-manager".to_owned() };
        let contested = Applied { contested: vec![(deployment(), vec![field])], ..Applied::default() };
        let status = settle(status, &contested, &service(None), "t").unwrap();
        let scaling = &status["conditions"][1];
        assert_eq!(
            (&scaling["type"], &scaling["status"], &scaling["reason"]),
            (&json!("Scaling"), &json!("False"), &json!("OtherScaler"))
        );
        let message = scaling["message"].as_str().unwrap();
        assert!(
            message.starts_with("Deployment llama-decode has replicas that kube-controller-manager sets"),
            "{message}"
        );
    }

    #[test]
    fn an_api_server_that_is_away_makes_nothing_degraded() {
        let away = Applied {
            troubles: vec![Trouble::of(deployment(), Failure::Away("refused".to_owned()))],
            ..Applied::default()
        };
        assert_eq!(settle(planned(true), &away, &service(None), "t").unwrap()["phase"], "Ready");
    }
}
