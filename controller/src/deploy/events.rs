//! Events: what a person should see with `kubectl describe modelservice`.

use super::step::Target;
use crate::watch::Kind;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::time::Duration;

/// The controller's name in Events.
const CONTROLLER: &str = "warmpath-controller";
/// How long one Event may take: it is only for people.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a note that the API server takes.
const NOTE_BYTES_MAX: usize = 1_000;

/// Something that a person should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Whether somebody has to do something.
    pub(super) is_warning: bool,
    /// What it is, in one word.
    pub(super) reason: String,
    /// What it is about.
    pub(super) about: About,
    /// What it is, in words.
    pub(super) message: String,
}

/// What a note is about: Events that are about the same for the same reason are counted as one, of which the first note stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An object that the ModelService became.
    Object(Target),
    /// A field of the ModelService.
    Field(String),
}

/// Writes Events.
pub(super) struct Announcer {
    recorder: Recorder,
}

// === impl Note ===

impl Note {
    pub(super) fn of_change(done: &str, target: &Target) -> Self {
        Self {
            is_warning: false,
            reason: done.to_owned(),
            about: About::Object(target.clone()),
            message: target.to_string(),
        }
    }
}

// === impl About ===

impl About {
    fn reference(&self, service: &ObjectReference) -> ObjectReference {
        match self {
            Self::Object(target) => {
                let resource = target.kind.resource();
                ObjectReference {
                    api_version: Some(resource.api_version),
                    kind: Some(resource.kind),
                    name: Some(target.name.name.clone()),
                    namespace: Some(target.name.namespace.clone()),
                    ..ObjectReference::default()
                }
            }
            Self::Field(field) => ObjectReference { field_path: Some(field.clone()), ..service.clone() },
        }
    }
}

// === impl Announcer ===

impl Announcer {
    pub(super) fn new(client: Client, pod: String) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(pod) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Writes an Event for each note. One that cannot be written is logged: nothing depends on it.
    pub(super) async fn announce(&self, about: &DynamicObject, notes: &[Note]) {
        // The API server leaves both out of the items of a list.
        let resource = Kind::ModelService.resource();
        let reference = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: about.metadata.name.clone(),
            namespace: about.metadata.namespace.clone(),
            uid: about.metadata.uid.clone(),
            resource_version: about.metadata.resource_version.clone(),
            field_path: None,
        };
        for note in notes {
            let end = note.message.floor_char_boundary(NOTE_BYTES_MAX);
            let event = Event {
                type_: if note.is_warning { EventType::Warning } else { EventType::Normal },
                reason: note.reason.clone(),
                note: note.message.get(..end).map(str::to_owned),
                action: "Deploy".to_owned(),
                secondary: Some(note.about.reference(&reference)),
            };
            let published = self.recorder.publish(&event, &reference);
            if !matches!(tokio::time::timeout(REQUEST_TIMEOUT, published).await, Ok(Ok(()))) {
                tracing::debug!(reason = note.reason, "an Event could not be written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Announcer, Note};
    use crate::config::ObjectName;
    use crate::deploy::step::Target;
    use crate::fake_api::FakeApi;
    use crate::watch::Kind;
    use http::{Method, Response};
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn events_of_one_reason_that_are_about_different_things_are_not_merged() {
        let written: Arc<Mutex<Vec<(Method, String)>>> = Arc::default();
        let log = Arc::clone(&written);
        let client = FakeApi::client(move |request| {
            log.lock().unwrap().push((request.method().clone(), request.uri().path().to_owned()));
            let event: Value = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "eventTime": null, "reportingController": "c", "action": "Deploy"});
            Response::new(event.to_string())
        });
        let service = serde_json::from_value(json!({
            "apiVersion": "warmpath.dev/v1alpha1", "kind": "ModelService",
            "metadata": {"name": "llama", "namespace": "llm", "uid": "u"},
        }));
        let target = |name: &str| {
            let name = ObjectName { namespace: "llm".to_owned(), name: name.to_owned() };
            Target { kind: Kind::Deployment, name }
        };
        let invalid = |field: &str| Note {
            is_warning: true,
            reason: "Invalid".to_owned(),
            about: About::Field(field.to_owned()),
            message: format!("{field} is wrong"),
        };
        let notes = [
            Note::of_change("Created", &target("llama-prefill")),
            Note::of_change("Created", &target("llama-decode")),
            invalid("spec.model"),
            invalid("spec.roles"),
        ];
        Announcer::new(client, "pod".to_owned()).announce(&service.unwrap(), &notes).await;
        let made: Vec<Method> = written.lock().unwrap().iter().map(|(method, _)| method.clone()).collect();
        assert_eq!(made, vec![Method::POST; notes.len()], "one that is merged would be a PATCH");
    }
}
