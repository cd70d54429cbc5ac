//! A pool's `kv_events`: where its engines publish what they hold. A controller follows them.

use crate::fault::Problem;
use crate::reader::{Entry, Fields, Reader};

/// The most data-parallel ranks of one engine.
pub const RANKS_MAX: u64 = 64;
/// The sources by their names.
const SOURCES: [&str; 4] = ["discovered", "ports", "connections", "none"];

/// Where engines publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KvEvents {
    /// Where each engine says, at `/kv_event_sources`.
    #[default]
    Discovered,
    /// At the same ports of each engine's address.
    Ports(Ports),
    /// Over connections that the engines make to the controller.
    Connections,
    /// Nowhere, or what they publish is not followed.
    Off,
}

/// The ports of engines that all publish alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// That of rank 0, where it publishes; the other ranks' follow it.
    pub port: u16,
    /// That of rank 0 where it sends again what a subscriber has missed, if it does; the other ranks' follow it.
    pub replay_port: Option<u16>,
    /// Data-parallel ranks of each engine.
    pub ranks: u16,
    /// What the topics of its messages begin with; empty takes all.
    pub topic: String,
}

/// Reads the map.
pub fn read(entry: &Entry<'_>, reader: &mut Reader) -> KvEvents {
    let mut fields = reader.fields(entry);
    let source = fields.required("source", reader).and_then(|entry| {
        let name = reader.name(&entry)?;
        let source = SOURCES.iter().find(|known| **known == name);
        if source.is_none() {
            reader.report(&entry.place, Problem::Choice { text: name, choices: &SOURCES });
        }
        source.copied()
    });
    let has_ports = source.is_none_or(|source| source == "ports");
    let port = |name: &'static str, fields: &mut Fields<'_>, reader: &mut Reader| {
        let entry = own(fields, name, source, has_ports, reader)?;
        reader.number::<u16>(&entry, 1..=u64::from(u16::MAX))
    };
    let is_missing = source == Some("ports") && !fields.has("port");
    let (first, replay_port) = (port("port", &mut fields, reader), port("replay_port", &mut fields, reader));
    let ranks = own(&mut fields, "ranks", source, has_ports, reader);
    let ranks = ranks.and_then(|entry| reader.number::<u16>(&entry, 1..=RANKS_MAX));
    let topic = own(&mut fields, "topic", source, has_ports, reader).and_then(|entry| reader.name(&entry));
    if is_missing {
        fields.lacks("port", Problem::Missing, reader);
    }
    fields.finish(reader);
    match source {
        Some("ports") => KvEvents::Ports(Ports {
            port: first.unwrap_or_default(),
            replay_port,
            ranks: ranks.unwrap_or(1),
            topic: topic.unwrap_or_default(),
        }),
        Some("connections") => KvEvents::Connections,
        Some("none") => KvEvents::Off,
        _ => KvEvents::Discovered,
    }
}

/// A field that only engines with configured ports have.
fn own<'a>(
    fields: &mut Fields<'a>,
    name: &'static str,
    source: Option<&'static str>,
    has_ports: bool,
    reader: &mut Reader,
) -> Option<Entry<'a>> {
    let entry = fields.optional(name)?;
    if let Some(source) = source.filter(|_| !has_ports) {
        reader.report(&entry.place, Problem::NoPorts { source });
        return None;
    }
    Some(entry)
}
