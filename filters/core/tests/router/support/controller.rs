//! The controller's end of the uplink: what the filter has sent up, and what it is sent down.

use super::step;
use crate::support::{Host, Uplink, UplinkState, Vm};
use prost::Message;
use warmpath_core::router::UplinkId;
use warmpath_core::wire::{Down, Event, Kind, Phase, Up, decode_up};

/// Steps within which one of the VMs must have opened the stream: a lease to run out, a retry, and to spare.
const STEPS_MAX: usize = 24;

/// A controller with one open stream.
pub(crate) struct Controller<'a> {
    /// The VM that holds the stream.
    pub(crate) vm: &'a Vm,
    /// The stream.
    pub(crate) stream: UplinkId,
    instance: u64,
    generation: u64,
}

// === impl Controller ===

impl<'a> Controller<'a> {
    /// Waits until a VM has opened the stream. Nothing is sent yet.
    pub(crate) fn accept(host: &Host, vms: &[&'a Vm]) -> Self {
        for _ in 0..STEPS_MAX {
            if let Some((vm, stream)) = vms.iter().find_map(|vm| Some((*vm, open_stream(vm)?))) {
                return Self { vm, stream: stream.id, instance: 7, generation: 0 };
            }
            step(host, vms);
        }
        panic!("no VM has opened a stream");
    }

    /// The same, as the controller instance `instance`.
    pub(crate) fn accept_as(host: &Host, vms: &[&'a Vm], instance: u64) -> Self {
        Self { instance, ..Self::accept(host, vms) }
    }

    /// Sends a whole snapshot.
    pub(crate) fn snapshot(&mut self, events: Vec<Event>) {
        self.down(Phase::Begin, 0, Vec::new());
        self.down(Phase::Item, 0, events);
        self.generation += 1;
        self.down(Phase::Done, self.generation, Vec::new());
    }

    /// Goes on where the proxy has been.
    pub(crate) fn resume(&mut self) {
        self.generation += 1;
        self.down(Phase::Resumed, self.generation, Vec::new());
    }

    /// Sends changes.
    pub(crate) fn delta(&mut self, events: Vec<Event>) {
        self.generation += 1;
        self.down(Phase::Delta, self.generation, events);
    }

    /// Sends one message.
    pub(crate) fn down(&self, phase: Phase, generation: u64, events: Vec<Event>) {
        let down = Down { instance: self.instance, generation, phase: phase.into(), events };
        self.vm.uplink_message(self.stream, &down.encode_to_vec());
    }

    /// Everything that came up on this stream.
    pub(crate) fn received(&self) -> Vec<Up> {
        let streams = self.vm.uplinks();
        let stream = streams.iter().find(|stream| stream.id == self.stream).expect("the stream was opened");
        stream.sent.iter().map(|message| decode_up(message).unwrap()).collect()
    }

    /// The events of it.
    pub(crate) fn events(&self) -> Vec<Kind> {
        self.received().into_iter().flat_map(|up| up.events).filter_map(|event| event.kind).collect()
    }

    /// The state of the stream.
    pub(crate) fn state(&self) -> UplinkState {
        let streams = self.vm.uplinks();
        streams.iter().find(|stream| stream.id == self.stream).expect("the stream was opened").state
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        self.vm.close_uplink(self.stream);
    }
}

fn open_stream(vm: &Vm) -> Option<Uplink> {
    vm.uplinks().into_iter().find(|stream| stream.state == UplinkState::Open)
}
