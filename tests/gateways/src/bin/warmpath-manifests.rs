//! Writes the manifests of `istio/` and `envoy/envoy-gateway/` again, from the chart. Part of `./just generate`.

use std::process::ExitCode;
use warmpath_gateways::plain::FILES;

fn main() -> ExitCode {
    for file in FILES {
        let written = file
            .render()
            .map_err(|error| error.to_string())
            .and_then(|text| std::fs::write(file.on_disk(), text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            report(file.path, &error);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "a command line tool reports why it failed")]
fn report(path: &str, error: &str) {
    eprintln!("{path}: {error}");
}
