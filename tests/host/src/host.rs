//! The simulated Envoy process: it creates VMs and holds everything that they share.

use crate::abi::LogLevel;
use crate::error::StartError;
use crate::module::Module;
use crate::options::Options;
use crate::process::{LogLine, Process};
use crate::vm::Vm;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// A handle to one Envoy process.
#[derive(Clone)]
pub struct Host {
    process: Rc<RefCell<Process>>,
}

// === impl Host ===

impl Default for Host {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Host {
    /// A process without VMs.
    pub fn new(options: Options) -> Self {
        Self { process: Rc::new(RefCell::new(Process::new(options))) }
    }

    /// A VM on a worker thread of its own, not yet configured.
    pub fn vm(&self, module: &Module) -> Result<Vm, StartError> {
        let worker = {
            let mut process = self.process.borrow_mut();
            process.workers += 1;
            process.workers
        };
        Vm::start(module, Rc::clone(&self.process), worker)
    }

    /// Does the same as `failure_policy: FAIL_RELOAD`: a fresh VM in the place of `vm`, on the same worker, over
    /// the same shared data, with the newest configuration that `vm` had. Streams of `vm` stay with `vm`.
    pub fn rebuild(&self, vm: &Vm) -> Result<Vm, StartError> {
        let fresh = Vm::start(&vm.module(), Rc::clone(&self.process), vm.worker())?;
        match vm.configuration() {
            Some(configuration) if !fresh.configure(&configuration)? => Err(StartError::Refused),
            _ => Ok(fresh),
        }
    }

    /// The clock, in nanoseconds since 1970. All VMs read the same one, by hostcall and by WASI.
    pub fn now_ns(&self) -> u64 {
        self.process.borrow().clock_ns
    }

    /// Sets the clock; backwards too, as NTP does.
    pub fn set_now_ns(&self, now_ns: u64) {
        self.process.borrow_mut().clock_ns = now_ns;
    }

    /// Moves the clock. No timer fires by itself: see [`Vm::tick`].
    pub fn advance(&self, by: Duration) {
        let mut process = self.process.borrow_mut();
        process.clock_ns = process.clock_ns.saturating_add(by.as_nanos() as u64);
    }

    /// A value of the shared data and its compare-and-swap number.
    pub fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.process.borrow().data.get(key.as_bytes()).cloned()
    }

    /// Writes to the shared data as another VM would, whatever is there.
    pub fn set_shared(&self, key: &str, value: &[u8]) {
        // Without a number to compare with, the write cannot be refused.
        let _written = self.process.borrow_mut().data.set(key.as_bytes(), value, 0);
    }

    /// All keys of the shared data, sorted.
    pub fn shared_keys(&self) -> Vec<String> {
        let process = self.process.borrow();
        process.data.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// Bytes that keys and values of the shared data take.
    pub fn shared_bytes(&self) -> usize {
        self.process.borrow().data.bytes()
    }

    /// Items that wait in a shared queue.
    pub fn queue_len(&self, name: &str) -> usize {
        self.process.borrow().queues.len(name.as_bytes())
    }

    /// Puts an item into a shared queue as another VM would. False where no VM has registered it.
    pub fn enqueue(&self, name: &str, item: &[u8]) -> bool {
        let queues = &mut self.process.borrow_mut().queues;
        let id = queues.resolve(name.as_bytes());
        id.is_some_and(|id| queues.enqueue(id, item.to_vec()).is_ok())
    }

    /// A counter's or a gauge's value, all VMs together. `None` where no VM has defined it.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.process.borrow().metrics.named(name)
    }

    /// What was recorded in a histogram, in order.
    pub fn records(&self, name: &str) -> Vec<u64> {
        self.process.borrow().metrics.records(name).to_vec()
    }

    /// The names of all metrics that any VM has defined.
    pub fn metric_names(&self) -> Vec<String> {
        self.process.borrow().metrics.names().cloned().collect()
    }

    /// Every line that was logged so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.process.borrow().log.clone()
    }

    /// The text of the lines of one level or above.
    pub fn log_from(&self, level: LogLevel) -> Vec<String> {
        let process = self.process.borrow();
        process.log.iter().filter(|line| line.level >= level).map(|line| line.text.clone()).collect()
    }

    /// Forgets the lines so far.
    pub fn clear_log(&self) {
        self.process.borrow_mut().log.clear();
    }

    /// Sets a property that every context can read, such as `["node", "id"]`.
    pub fn set_property(&self, path: &[&str], value: &[u8]) {
        let path = path.iter().map(|step| step.as_bytes().to_vec()).collect();
        self.process.borrow_mut().properties.insert(path, value.to_vec());
    }

    /// From now on these are the only clusters: callouts to others are refused at once. Without this
    /// every name is a cluster.
    pub fn set_clusters(&self, names: &[&str]) {
        self.process.borrow_mut().clusters = Some(names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// A cluster without a healthy endpoint: callouts to it fail at once with an internal failure.
    pub fn set_cluster_down(&self, name: &str, down: bool) {
        let mut process = self.process.borrow_mut();
        if down {
            process.clusters_down.insert(name.to_owned());
        } else {
            process.clusters_down.remove(name);
        }
    }
}
