//! The controller's end of the uplink: what the filter has sent up, and what it is sent down.

use super::{CLUSTER, step};
use prost::Message;
use warmpath_core::wire::{Down, Event, Phase, Up, decode_up};
use warmpath_host::{GrpcState, GrpcStream, Host, Vm};

/// Steps within which one of the VMs must have opened the stream: a lease to run out, a retry, and to spare.
const STEPS_MAX: usize = 24;

/// A controller with one open stream.
pub(crate) struct Controller<'a> {
    /// The VM that holds the stream.
    pub(crate) vm: &'a Vm,
    /// The stream.
    pub(crate) stream: u32,
    instance: u64,
    generation: u64,
}

// === impl Controller ===

impl<'a> Controller<'a> {
    /// Waits until a VM has opened the stream. Nothing is sent yet.
    pub(crate) fn accept(host: &Host, vms: &[&'a Vm]) -> Self {
        for _ in 0..STEPS_MAX {
            if let Some((vm, stream)) = vms.iter().find_map(|vm| Some((*vm, open_stream(vm)?))) {
                let names_cluster =
                    stream.upstream.windows(CLUSTER.len()).any(|part| part == CLUSTER.as_bytes());
                assert!(names_cluster, "{:?}", stream.upstream);
                return Self { vm, stream: stream.id, instance: 7, generation: 0 };
            }
            step(host, vms);
        }
        panic!("no VM has opened a stream: {:#?}", host.log());
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

    /// Sends changes.
    pub(crate) fn delta(&mut self, events: Vec<Event>) {
        self.generation += 1;
        self.down(Phase::Delta, self.generation, events);
    }

    /// Sends one message.
    pub(crate) fn down(&self, phase: Phase, generation: u64, events: Vec<Event>) {
        let down = Down { instance: self.instance, generation, phase: phase.into(), events };
        assert!(self.vm.grpc_message(self.stream, &down.encode_to_vec()).unwrap(), "the stream is open");
    }

    /// Everything that came up on this stream.
    pub(crate) fn received(&self) -> Vec<Up> {
        let streams = self.vm.grpc_streams();
        let stream = streams.iter().find(|stream| stream.id == self.stream).expect("the stream was opened");
        stream.sent.iter().map(|message| decode_up(message).unwrap()).collect()
    }

    /// The state of the stream.
    pub(crate) fn state(&self) -> GrpcState {
        let streams = self.vm.grpc_streams();
        streams.iter().find(|stream| stream.id == self.stream).expect("the stream was opened").state
    }
}

fn open_stream(vm: &Vm) -> Option<GrpcStream> {
    vm.grpc_streams().into_iter().find(|stream| stream.state == GrpcState::Open)
}
