//! How the legs of one request are made and sent, whichever endpoints they go to.

use super::super::body::set_request_body;
use super::super::exchange::Reading;
use super::super::head::LegHead;
use super::super::io::Output;
use super::super::planned::Routed;
use super::super::reasons::{LegFailure, StaysWhole};
use crate::prompt::Api;
use crate::routing::Candidate;
use crate::split::{BOOTSTRAP_PORT_DEFAULT, Bootstrap, Handover, NotEditable, Protocol, Push};
use crate::view::{EVERY_POOL_CLUSTER, stands_for};
use crate::wire::{Transfer, TransferProtocol};
use std::net::SocketAddr;

/// How the legs of a request are made and sent, whichever endpoints they go to.
#[derive(Debug)]
pub(super) struct Joint {
    pub(super) transfer: Transfer,
    /// The format of the bodies; `None`: there are none, as with callers that have chains and no texts.
    pub(super) api: Option<Api>,
    /// The cluster of the prefill leg.
    pub(super) cluster: String,
    pub(super) head: LegHead,
    pub(super) may_explain: bool,
}

// === impl Joint ===

impl Joint {
    /// Of a request that was read.
    pub(super) fn of(
        reading: &Reading,
        transfer: Transfer,
        whole: &Routed,
        several: bool,
    ) -> Result<Self, StaysWhole> {
        let head = reading.leg.clone().ok_or(StaysWhole::Unread)?;
        // The route may change with the model's name; then only a cluster that shows its pool is the one.
        let route = reading.route.cluster(&whole.model);
        let route = route
            .filter(|cluster| !several || *cluster == EVERY_POOL_CLUSTER || stands_for(cluster, &whole.pool));
        let named = Some(transfer.cluster.as_str()).filter(|name| !name.is_empty());
        let cluster = named.or(route).ok_or(StaysWhole::NoCluster)?.to_owned();
        Ok(Self { transfer, api: Some(reading.api), cluster, head, may_explain: reading.may_explain })
    }

    /// The protocol with `prefill` as the endpoint that computes the prompt; `None`: it lacks something for that. `engine` is the id of
    /// its KV connector.
    pub(super) fn protocol(&self, prefill: &Candidate, engine: &str, random: u64) -> Option<Protocol> {
        let port = u16::try_from(self.transfer.bootstrap_port).ok().filter(|port| *port != 0);
        match self.transfer.protocol() {
            TransferProtocol::Pull => Some(Protocol::Pull),
            TransferProtocol::ContextFirst => Some(Protocol::ContextFirst),
            TransferProtocol::Bootstrap => {
                let address: SocketAddr = prefill.address.parse().ok()?;
                let host = address.ip().to_string();
                Some(Protocol::Bootstrap(Bootstrap { host, port, room: random }))
            }
            TransferProtocol::Push if engine.is_empty() => None,
            TransferProtocol::Push => {
                let address: SocketAddr = prefill.address.parse().ok()?;
                let server = SocketAddr::new(address.ip(), port.unwrap_or(BOOTSTRAP_PORT_DEFAULT));
                let (bootstrap, engine) = (format!("http://{server}"), engine.to_owned());
                Some(Protocol::Push(Push { transfer: random, bootstrap, engine }))
            }
        }
    }

    pub(super) fn prefill_body(&self, protocol: &Protocol, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
        self.api.map_or(Ok(Vec::new()), |api| protocol.prefill(api, body))
    }

    pub(super) fn decode_body(
        &self,
        protocol: &Protocol,
        body: &[u8],
        handover: &Handover,
    ) -> Result<Vec<u8>, NotEditable> {
        self.api.map_or(Ok(Vec::new()), |api| protocol.decode(api, body, handover))
    }

    /// What the response of a prefill leg hands over.
    pub(super) fn handover(&self, protocol: &Protocol, response: &[u8]) -> Result<Handover, LegFailure> {
        if self.api.is_none() {
            return Ok(Handover::Agreed);
        }
        protocol.handover(response).map_err(LegFailure::Handover)
    }

    /// Puts another body in place of the one that the host keeps.
    pub(super) fn set_body(&self, old_bytes: usize, body: Vec<u8>, out: &mut Vec<Output>) {
        if self.api.is_some() {
            set_request_body(self.head.has_length, old_bytes, body, out);
        }
    }
}
