//! The control plane: the released programs, started as a cluster's administrator would start them, as processes of the test run.
//!
//! Ports are fixed, because the test run has its own network. Periods for which tests would have to wait minutes are set to
//! seconds: how long a silent node counts as ready, and how long its pods then stay.

mod audit;
mod groups;
mod keys;

pub use self::audit::Call;
use crate::network::{HOST, SERVICE_RANGE};
use crate::process::{Log, Process};
use crate::tools::Tool;
use crate::wait::until;
use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Mutex;

/// The API server's port.
pub(crate) const API_PORT: u16 = 6443;

/// Who may do everything.
const ADMIN_TOKEN: &str = "administrator";

/// How long a component may take for its end. The API server first ends its watches.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// The components, in the order of their start.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    etcd: Mutex<Option<Process>>,
    api_server: Mutex<Option<Process>>,
    others: Mutex<Vec<Process>>,
    /// The controller of LeaderWorkerSets, once a test has asked for it.
    groups: Mutex<Option<Process>>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts everything below `folder`, and waits until the API server is ready.
    pub(crate) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let plane = Self {
            folder: folder.to_owned(),
            etcd: Mutex::default(),
            api_server: Mutex::default(),
            others: Mutex::default(),
            groups: Mutex::default(),
        };
        fs::create_dir_all(plane.folder.join("certs")).context("cannot make the control plane's folder")?;
        let (signing, checking) = keys::service_account_keys()?;
        plane.write("service-accounts.key", &signing)?;
        plane.write("service-accounts.pub", &checking)?;
        plane.write("tokens.csv", &format!("{ADMIN_TOKEN},administrator,1,\"system:masters\"\n"))?;
        plane.write("audit.yaml", audit::POLICY)?;
        *plane.etcd.lock().await = Some(plane.spawn(Tool::Etcd, &plane.etcd_arguments())?);
        plane.start_api_server().await?;
        plane.write("kubeconfig", &serde_json::to_string(&plane.kubeconfig(ADMIN_TOKEN))?)?;
        plane.start_others().await?;
        Ok(plane)
    }

    /// Starts the API server again. The other components begin anew with it: where there are several of each, they end when
    /// they cannot renew their Lease. Else the controller manager would take all nodes for lost, which could not reach the API
    /// server either.
    pub async fn restart_api_server(&self) -> anyhow::Result<()> {
        self.stop_others().await;
        self.start_api_server().await?;
        self.start_others().await
    }

    async fn start_others(&self) -> anyhow::Result<()> {
        let manager = self.spawn(Tool::ControllerManager, &self.manager_arguments())?;
        let scheduler = self.spawn(Tool::Scheduler, &self.scheduler_arguments())?;
        self.others.lock().await.extend([manager, scheduler]);
        Ok(())
    }

    async fn stop_others(&self) {
        for mut process in self.others.lock().await.drain(..) {
            process.kill().await;
        }
    }

    async fn start_api_server(&self) -> anyhow::Result<()> {
        let mut running = self.api_server.lock().await;
        let process = running.insert(self.spawn(Tool::ApiServer, &self.api_server_arguments())?);
        let is_ready = async || {
            if process.has_ended() {
                return Some(None);
            }
            // Its certificate is there when it has started for the first time.
            let client = self.client().await.ok()?;
            let request = http_get("/readyz").ok()?;
            client.request_text(request).await.ok().map(Some)
        };
        let ready = until("the API server to be ready", is_ready)
            .await
            .with_context(|| self.tail("kube-apiserver"))?;
        ready.with_context(|| format!("kube-apiserver has ended; {}", self.tail("kube-apiserver"))).map(drop)
    }

    /// Stops the API server; everything else keeps what it knows.
    pub async fn stop_api_server(&self) {
        if let Some(mut process) = self.api_server.lock().await.take() {
            process.stop(STOP_TIME_MAX).await;
        }
    }

    /// Kills the API server: connections break instead of ending.
    pub async fn kill_api_server(&self) {
        if let Some(mut process) = self.api_server.lock().await.take() {
            process.kill().await;
        }
    }

    /// A client that may do everything.
    pub async fn client(&self) -> anyhow::Result<Client> {
        self.client_with(ADMIN_TOKEN).await
    }

    /// A client with this token.
    pub async fn client_with(&self, token: &str) -> anyhow::Result<Client> {
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig(token))?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.context("no kubeconfig")?;
        Client::try_from(config).context("no client")
    }

    /// The administrator's kubeconfig, for `kubectl` and `helm`.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The API server's certificates, in PEM.
    pub fn certificates(&self) -> PathBuf {
        self.folder.join("certs/apiserver.crt")
    }

    /// The calls of a service account so far.
    pub fn calls(&self, namespace: &str, account: &str) -> Vec<Call> {
        let log = Log::new(self.folder.join("audit.log")).text();
        audit::calls(&log, &format!("system:serviceaccount:{namespace}:{account}"))
    }

    /// What a component wrote.
    pub fn log(&self, component: &str) -> Log {
        Log::new(self.folder.join(format!("{component}.log")))
    }

    /// Ends everything.
    pub(crate) async fn stop(&self) {
        if let Some(mut groups) = self.groups.lock().await.take() {
            groups.kill().await;
        }
        self.stop_others().await;
        self.kill_api_server().await;
        if let Some(mut etcd) = self.etcd.lock().await.take() {
            etcd.kill().await;
        }
    }

    /// The last lines of a component, for an error.
    fn tail(&self, component: &str) -> String {
        format!("the last lines of {component}:\n{}\n---", self.log(component).tail(20))
    }

    fn kubeconfig(&self, token: &str) -> serde_json::Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": {
                "server": format!("https://{HOST}:{API_PORT}"),
                "certificate-authority": self.certificates(),
            }}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        })
    }

    fn spawn(&self, tool: Tool, arguments: &[String]) -> anyhow::Result<Process> {
        let path = tool.path()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(&path);
        command.args(arguments).env("HOME", &self.folder);
        Process::spawn(command, &self.log(&name))
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.folder.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    fn in_folder(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn etcd_arguments(&self) -> Vec<String> {
        options(&[
            ("data-dir", &self.in_folder("etcd")),
            ("listen-client-urls", "http://127.0.0.1:2379"),
            ("advertise-client-urls", "http://127.0.0.1:2379"),
            ("listen-peer-urls", "http://127.0.0.1:2380"),
            ("log-level", "warn"),
            ("unsafe-no-fsync", "true"),
        ])
    }

    fn api_server_arguments(&self) -> Vec<String> {
        options(&[
            ("etcd-servers", "http://127.0.0.1:2379"),
            ("bind-address", "0.0.0.0"),
            ("secure-port", &API_PORT.to_string()),
            ("advertise-address", &HOST.to_string()),
            ("cert-dir", &self.in_folder("certs")),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("service-account-key-file", &self.in_folder("service-accounts.pub")),
            ("service-account-signing-key-file", &self.in_folder("service-accounts.key")),
            ("authorization-mode", "RBAC"),
            ("token-auth-file", &self.in_folder("tokens.csv")),
            ("service-cluster-ip-range", SERVICE_RANGE),
            ("audit-policy-file", &self.in_folder("audit.yaml")),
            ("audit-log-path", &self.in_folder("audit.log")),
            // How long pods stay on a node that is gone; five minutes elsewhere.
            ("default-not-ready-toleration-seconds", "2"),
            ("default-unreachable-toleration-seconds", "2"),
            ("profiling", "false"),
        ])
    }

    fn manager_arguments(&self) -> Vec<String> {
        options(&[
            ("kubeconfig", &self.in_folder("kubeconfig")),
            ("service-account-private-key-file", &self.in_folder("service-accounts.key")),
            ("root-ca-file", &self.certificates().display().to_string()),
            ("use-service-account-credentials", "false"),
            ("secure-port", "0"),
            ("leader-elect", "false"),
            // How long a silent node counts as ready: long enough for a kubelet that waits for a processor.
            ("node-monitor-period", "1s"),
            ("node-monitor-grace-period", "15s"),
            ("node-eviction-rate", "10"),
        ])
    }

    fn scheduler_arguments(&self) -> Vec<String> {
        options(&[
            ("kubeconfig", &self.in_folder("kubeconfig")),
            ("secure-port", "0"),
            ("leader-elect", "false"),
        ])
    }
}

fn options(values: &[(&str, &str)]) -> Vec<String> {
    values.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// A request of a path that is no object.
pub(crate) fn http_get(path: &str) -> anyhow::Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).context("not a path")
}
