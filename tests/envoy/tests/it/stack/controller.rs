//! A controller in this process that can be stopped and started again at its address, and whose pools follow a
//! file, as they do for users.

use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;
use warmpath::config::{Settings, Watched};
use warmpath::run::{self, Running};

/// The controller, running or stopped.
pub(crate) struct Controller {
    folder: TempDir,
    listen: [SocketAddr; 2],
    /// Further fields of its file.
    fields: Value,
    running: Option<Running>,
}

// === impl Controller ===

impl Controller {
    pub(crate) async fn start(pools: &Value) -> Self {
        Self::start_with(pools, json!({})).await
    }

    /// Starts one with further fields in its file.
    pub(crate) async fn start_with(pools: &Value, fields: Value) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let folder = tempfile::tempdir().unwrap();
        let mut controller = Self { folder, listen: [any, any], fields, running: None };
        controller.set_pools(pools);
        controller.start_again().await;
        controller
    }

    /// Where the state stream is, whether or not anybody serves it.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.listen[0]
    }

    /// Where its pages are.
    pub(crate) fn http_addr(&self) -> SocketAddr {
        self.listen[1]
    }

    /// Changes the file. The controller reads it a few times a second.
    pub(crate) fn set_pools(&self, pools: &Value) {
        let [grpc, http] = self.listen.map(|address| address.to_string());
        let mut config = json!({
            "listen": { "grpc": grpc, "http": http },
            "scrape": { "interval_ms": 100, "timeout_ms": 1000, "unhealthy_after": 3 },
            "pools": pools,
        });
        let fields = self.fields.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(fields);
        fs::write(self.path(), config.to_string()).unwrap();
    }

    /// Ends it and waits until it has ended.
    pub(crate) async fn stop(&mut self) {
        self.running.take().unwrap().shutdown().await;
    }

    /// Starts one that knows nothing, at the address of the one before.
    pub(crate) async fn start_again(&mut self) {
        let text = fs::read_to_string(self.path()).unwrap();
        let mut settings = Settings::parse(&text).unwrap();
        [settings.listen.grpc, settings.listen.http] = self.listen;
        let running = run::launch(settings, Some(Watched::new(self.path(), text))).await.unwrap();
        self.listen = [running.grpc_addr(), running.http_addr()];
        self.running = Some(running);
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("controller.yaml")
    }
}
