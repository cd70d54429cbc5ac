//! `cost`: the filter's processor time for a request and for a streamed piece.
//!
//! The base is the same Envoy with its own buffer filter: whoever chooses by the body must hold the body, so that is
//! the least it can cost. Plain Envoy, which holds nothing, is measured too. Engines and load run in other
//! processes than Envoy, whose processor time alone is read; the arms take turns, so that a slow minute of the
//! machine hits all of them.

pub mod engines;
mod load;
mod meter;
mod report;
mod variant;

use anyhow::ensure;

use self::load::Load;
use self::report::{Case, Report};
use self::variant::{Setup, Variant};
use crate::args::CostArgs;
use crate::paths;

/// Requests before the first measurement: connections, caches and the compiler of the VM get warm.
const WARM_UP_REQUESTS: usize = 300;

/// Streams at the same time, where streamed pieces are measured.
const STREAMS: usize = 8;

/// How much faster than real the streaming engines are: about 2 ms a token, so that each token is a piece of its
/// own on the wire.
const STREAM_TIME_SCALE: f64 = 5.0;

/// Measures and writes the report.
pub async fn run(args: &CostArgs) -> anyhow::Result<()> {
    ensure!(args.requests > 0 && args.repetitions > 0, "requests and repetitions must be positive");
    let mut cases = Vec::new();
    let instant = engines::Process::start(variant::ENGINES, 0.0)?;
    let setup = Setup::start(instant.addresses()).await?;
    for connections in &args.connections {
        for prompt_bytes in &args.prompt_bytes {
            let load = Load::Requests {
                count: args.requests,
                connections: *connections,
                prompt_bytes: *prompt_bytes,
            };
            cases.push(measure(&setup, load, args.repetitions).await?);
        }
    }
    setup.shutdown().await;
    drop(instant);
    let paced = engines::Process::start(variant::ENGINES, STREAM_TIME_SCALE)?;
    let setup = Setup::start(paced.addresses()).await?;
    for has_usage in [false, true] {
        let load = Load::Stream { streams: STREAMS, chunks: args.stream_chunks, has_usage };
        cases.push(measure(&setup, load, args.repetitions).await?);
    }
    setup.shutdown().await;
    let report = Report::new(args.clone(), cases);
    report.write(&args.out.clone().unwrap_or_else(|| paths::report_folder("cost")))
}

/// One load on all variants, in turn, again and again.
async fn measure(setup: &Setup, load: Load, repetitions: usize) -> anyhow::Result<Case> {
    let mut case = Case::new(load);
    let mut number = 0;
    for variant in Variant::ALL {
        let warm_up = load.smaller(WARM_UP_REQUESTS);
        warm_up.run(setup.gateway(variant)?, &mut number).await?;
    }
    for _ in 0..repetitions {
        for variant in Variant::ALL {
            let gateway = setup.gateway(variant)?;
            let meter = setup.meter(variant)?;
            let before = meter.read()?;
            let units = load.run(gateway, &mut number).await?;
            case.add(variant, meter.read()?.each_since(before, units));
        }
    }
    case.print();
    Ok(case)
}
