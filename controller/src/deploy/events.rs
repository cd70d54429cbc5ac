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
    /// What it is, in words.
    pub(super) message: String,
}

/// Writes Events.
pub(super) struct Announcer {
    recorder: Recorder,
}

// === impl Note ===

impl Note {
    pub(super) fn of_change(done: &str, target: &Target) -> Self {
        Self { is_warning: false, reason: done.to_owned(), message: target.to_string() }
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
                secondary: None,
            };
            let published = self.recorder.publish(&event, &reference);
            if !matches!(tokio::time::timeout(REQUEST_TIMEOUT, published).await, Ok(Ok(()))) {
                tracing::debug!(reason = note.reason, "an Event could not be written");
            }
        }
    }
}
