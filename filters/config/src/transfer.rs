//! A pool's `transfer`: how its engines pass KV on between the legs of a request.
//!
//! There is no default, because engines that are started without a connector ignore what the protocol adds to a request, and
//! compute the prompt twice.

use crate::fault::Problem;
use crate::reader::{Entry, Reader};
use warmpath_core::wire::{Transfer, TransferProtocol};

/// The protocols by the names that configurations and annotations give them.
const PROTOCOLS: [(&str, TransferProtocol); 4] = [
    ("nixl", TransferProtocol::Pull),
    ("mooncake", TransferProtocol::Push),
    ("sglang", TransferProtocol::Bootstrap),
    ("tensorrt-llm", TransferProtocol::ContextFirst),
];

/// The names, for messages.
pub const PROTOCOL_NAMES: [&str; 4] = [PROTOCOLS[0].0, PROTOCOLS[1].0, PROTOCOLS[2].0, PROTOCOLS[3].0];

/// The protocol of this name.
pub fn protocol_named(name: &str) -> Option<TransferProtocol> {
    PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, protocol)| *protocol)
}

/// The name of a protocol.
pub fn protocol_name(protocol: TransferProtocol) -> &'static str {
    match protocol {
        TransferProtocol::Pull => PROTOCOLS[0].0,
        TransferProtocol::Push => PROTOCOLS[1].0,
        TransferProtocol::Bootstrap => PROTOCOLS[2].0,
        TransferProtocol::ContextFirst => PROTOCOLS[3].0,
    }
}

/// Whether the engines of a protocol find each other at a bootstrap server, whose port may be configured.
pub fn has_bootstrap(protocol: TransferProtocol) -> bool {
    match protocol {
        TransferProtocol::Bootstrap | TransferProtocol::Push => true,
        TransferProtocol::Pull | TransferProtocol::ContextFirst => false,
    }
}

/// Reads the map.
pub fn read(entry: &Entry<'_>, reader: &mut Reader) -> Transfer {
    let mut fields = reader.fields(entry);
    let protocol = fields.required("protocol", reader).and_then(|entry| read_protocol(&entry, reader));
    let port = fields.optional("bootstrap_port").and_then(|entry| {
        if let Some(protocol) = protocol.filter(|protocol| !has_bootstrap(*protocol)) {
            reader.report(&entry.place, Problem::NoBootstrap { protocol: protocol_name(protocol) });
        }
        reader.number::<u32>(&entry, 1..=u64::from(u16::MAX))
    });
    let cluster = fields.optional("cluster").and_then(|entry| reader.name(&entry));
    fields.finish(reader);
    Transfer {
        protocol: protocol.unwrap_or_default().into(),
        bootstrap_port: port.unwrap_or_default(),
        cluster: cluster.unwrap_or_default(),
    }
}

fn read_protocol(entry: &Entry<'_>, reader: &mut Reader) -> Option<TransferProtocol> {
    let name = reader.name(entry)?;
    let protocol = protocol_named(&name);
    if protocol.is_none() {
        reader.report(&entry.place, Problem::Choice { text: name, choices: &PROTOCOL_NAMES });
    }
    protocol
}
