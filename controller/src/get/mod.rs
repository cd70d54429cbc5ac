//! `warmpath get`: pools, endpoints or proxies as the controller knows them, or the models of a cluster, as a table or as JSON.
//!
//! ```text
//!   controller's /state ─► StatePage ────┐
//!                                        ├─► rows of one kind ─► columns | JSON
//!   API server ─► ModelServices ─────────┘
//! ```
//!
//! The columns are for people and for `awk`: one word per cell, no colours, `-` for unknown values.

mod endpoints;
mod models;
mod pools;
mod proxies;
mod words;

pub use models::{ModelsError, models};

use crate::api::StatePage;
use crate::args::{GetArgs, GetOutput, Kind};
use crate::columns::{Side, aligned};
use crate::web::{self, Bounds, WebError};
use std::io::{self, Write};
use warmpath_deploy::api::ModelService;

/// The most bytes of a page that are read: an endpoint takes some 700 bytes, and there may be 8192.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Spaces between two columns, as in kubectl.
const GAP: usize = 3;

/// What is printed of one kind: headings, and a row for each object.
#[derive(Clone, Debug, Default)]
struct Rows {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// Requests the state of a controller.
pub async fn state(controller: &str) -> Result<StatePage, WebError> {
    web::json(controller, "/state", Bounds::bytes(PAGE_BYTES_MAX), "a controller").await
}

/// Prints one kind of objects. An empty list is reported on `notes`, so that `out` holds only rows.
pub fn print(
    out: &mut impl Write,
    notes: &mut impl Write,
    mut state: StatePage,
    args: &GetArgs,
) -> io::Result<()> {
    if let Some(wanted) = &args.pool {
        state.pools.retain(|pool| pool.name == *wanted);
    }
    if args.kind == Kind::Proxies {
        for problem in state.replicas.iter().filter_map(|replica| replica.problem.as_ref()) {
            writeln!(notes, "The proxies of another replica are missing: {problem}.")?;
        }
    }
    if args.output == GetOutput::Json {
        let json = match args.kind {
            Kind::Pools => serde_json::to_string_pretty(&state.pools),
            Kind::Endpoints => serde_json::to_string_pretty(&endpoints::json(&state)),
            Kind::Proxies => serde_json::to_string_pretty(&state.proxies),
            Kind::Models => return Ok(()),
        };
        return writeln!(out, "{}", json?);
    }
    let is_wide = args.output == GetOutput::Wide;
    let rows = match args.kind {
        Kind::Pools => pools::rows(&state, is_wide),
        Kind::Endpoints => endpoints::rows(&state, is_wide),
        Kind::Proxies => proxies::rows(&state, is_wide),
        Kind::Models => return Ok(()),
    };
    write_table(out, notes, rows, args)
}

/// Prints the models of a cluster, and on `notes` what they wait for.
pub fn print_models(
    out: &mut impl Write,
    notes: &mut impl Write,
    models: &[ModelService],
    args: &GetArgs,
) -> io::Result<()> {
    if args.output == GetOutput::Json {
        return writeln!(out, "{}", serde_json::to_string_pretty(models)?);
    }
    write_table(out, notes, models::rows(models, args.output == GetOutput::Wide), args)?;
    write!(notes, "{}", models::waits(models))
}

fn write_table(out: &mut impl Write, notes: &mut impl Write, listed: Rows, args: &GetArgs) -> io::Result<()> {
    let Rows { headings, rows } = listed;
    if rows.is_empty() {
        return writeln!(notes, "{}", empty(args));
    }
    let mut table = Vec::new();
    if !args.no_headers {
        table.push(headings.into_iter().map(str::to_owned).collect());
    }
    table.extend(rows);
    write!(out, "{}", aligned(&table, GAP, |_| Side::Left))
}

/// The message for an empty list, with what to look at.
fn empty(args: &GetArgs) -> String {
    match (args.kind, &args.pool) {
        (Kind::Proxies, _) => "No proxies are connected; `warmpath check --envoy URL` says why.".to_owned(),
        (Kind::Models, _) => "No models; docs/model-service.md says how to make one.".to_owned(),
        (_, Some(pool)) => format!("No pool {pool}, or it has no endpoints."),
        (Kind::Pools, None) => "No pools.".to_owned(),
        (Kind::Endpoints, None) => "No endpoints.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::print;
    use crate::api::StatePage;
    use crate::args::{GetArgs, GetOutput, Kind};

    const STATE: &str = r#"{"version":"0.1.0","pools":[
        {"name":"llm/llama","models":["llama-3.1-8b","meta-llama/Llama-3.1-8B-Instruct","x","y"],"adapters":["sql"],
         "bytes_per_token":4.25,"cached_share":0.731,"transfer":{"protocol":"nixl"},
         "hold":{"room_s":300},"held_for_room":{"requests":3,"oldest_ms":41000},"endpoints":[
          {"address":"10.0.0.1:8000","pod":"llm/vllm-0","role":"both","health":"healthy","fitness":"fit","scrape":"page",
           "scraped_ms":420,"engine":"vllm","running":12,"waiting":0,"kv_used_permille":431,"capacity_tokens":600000,
           "requests":13,"prefills":1,"held_cells":4000,"capacity_cells":9411,"prefill_s_per_token":0.00005,
           "cached_share":0.8},
          {"address":"10.0.0.12:8000","pod":null,"role":"both","health":"unhealthy","fitness":"unhealthy",
           "scrape":"timeout","scraped_ms":75000,"running":0,"waiting":0,"capacity_tokens":300000,"prefill_s_per_token":null}]},
        {"name":"llm/empty","models":[]}],
      "proxies":[{"replica":"controller-0","process":"0a","node":"gateway-7d","version":"0.1.0","cell_bytes":256,"connected_ms":7384000,
        "requests":9,"held":2}]}"#;

    fn args(kind: Kind, output: GetOutput, pool: Option<&str>) -> GetArgs {
        GetArgs {
            kind,
            controller: String::new(),
            output,
            pool: pool.map(str::to_owned),
            namespace: None,
            no_headers: false,
            watch: false,
        }
    }

    fn printed(json: &str, kind: Kind, output: GetOutput, pool: Option<&str>) -> (String, String) {
        let args = args(kind, output, pool);
        let state: StatePage = serde_json::from_str(json).unwrap();
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        print(&mut out, &mut notes, state, &args).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
    }

    fn table(kind: Kind, output: GetOutput) -> String {
        printed(STATE, kind, output, None).0
    }

    #[test]
    fn tables_as_kubectl_prints_them() {
        let wanted = "\
NAME        MODELS                                             READY   RUNNING   WAITING   HELD   OLDEST   CACHED   TRANSFER   SCRAPED
llm/llama   llama-3.1-8b,meta-llama/Llama-3.1-8B-Instruct,+2   1/2     12        0         3      41s      73%      nixl       75s
llm/empty   -                                                  0/0     0         0         -      -        -        -          -
";
        assert_eq!(table(Kind::Pools, GetOutput::Text), wanted);
        let wanted = "\
ADDRESS          POD          POOL        ROLE   STATE       RUNNING   WAITING   KV    HELD   CACHED   PREFILL
10.0.0.1:8000    llm/vllm-0   llm/llama   both   healthy     12        0         43%   42%    80%      20k/s
10.0.0.12:8000   -            llm/llama   both   unhealthy   0         0         0%    -      -        -
";
        assert_eq!(table(Kind::Endpoints, GetOutput::Text), wanted);
        let wanted = "\
NODE         VERSION   CONNECTED   REQUESTS   HELD   REPLICA        PROCESS   CELL-BYTES
gateway-7d   0.1.0     2h3m        9          2      controller-0   0a        256
";
        assert_eq!(table(Kind::Proxies, GetOutput::Wide), wanted);
    }

    #[test]
    fn a_model_is_a_row_with_its_roles_and_what_it_waits_for_a_note() {
        let model = serde_json::json!({
            "apiVersion": "warmpath.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "llama", "namespace": "llm"},
            "spec": {"model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}, "roles": {}},
            "status": {"phase": "Degraded", "cached": "73%", "ttftP90": "420ms", "message": "decode: pod d-0: OOMKilled", "roles": [
                {"name": "prefill", "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-prefill"}, "wanted": 2, "ready": 2, "updated": 2},
                {"name": "decode", "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-decode"}, "wanted": 4, "ready": 3, "updated": 4}]},
        });
        let models = [serde_json::from_value(model).unwrap()];
        let args = args(Kind::Models, GetOutput::Text, None);
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        super::print_models(&mut out, &mut notes, &models, &args).unwrap();
        let wanted = "\
NAME        MODEL                              READY                    CACHED   TTFT-P90   PHASE
llm/llama   meta-llama/Llama-3.1-8B-Instruct   prefill:2/2,decode:3/4   73%      420ms      Degraded
";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert_eq!(String::from_utf8(notes).unwrap(), "llm/llama: decode: pod d-0: OOMKilled.\n");
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        super::print_models(&mut out, &mut notes, &[], &args).unwrap();
        assert!(out.is_empty() && notes.starts_with(b"No models"));
    }

    #[test]
    fn every_line_has_a_cell_for_each_heading() {
        for kind in [Kind::Pools, Kind::Endpoints, Kind::Proxies] {
            for output in [GetOutput::Text, GetOutput::Wide] {
                let table = table(kind, output);
                let words: Vec<usize> =
                    table.lines().map(|line| line.split_ascii_whitespace().count()).collect();
                assert!(words.iter().all(|count| Some(count) == words.first()), "{table}");
            }
        }
    }

    #[test]
    fn the_list_may_be_of_one_pool_or_empty() {
        let (out, _) = printed(STATE, Kind::Endpoints, GetOutput::Json, Some("llm/llama"));
        let endpoints: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (&endpoints[0]["pool"], &endpoints[1]["scrape"]),
            (&"llm/llama".into(), &"timeout".into())
        );
        let (out, notes) = printed(STATE, Kind::Endpoints, GetOutput::Text, Some("llm/empty"));
        assert_eq!((out.as_str(), notes.as_str()), ("", "No pool llm/empty, or it has no endpoints.\n"));
        let (out, notes) = printed("{}", Kind::Pools, GetOutput::Text, None);
        assert_eq!((out.as_str(), notes.as_str()), ("", "No pools.\n"));
        assert_eq!(printed("{}", Kind::Proxies, GetOutput::Json, None).0, "[]\n");
    }

    #[test]
    fn a_replica_that_does_not_respond_is_a_note_beside_the_table() {
        let state = STATE.replacen('{', r#"{"replicas":[{"problem":"cannot reach x"},{"name":"b"}],"#, 1);
        let (out, notes) = printed(&state, Kind::Proxies, GetOutput::Text, None);
        assert_eq!(notes, "The proxies of another replica are missing: cannot reach x.\n");
        assert_eq!(out.lines().count(), 2);
        assert_eq!(printed(&state, Kind::Pools, GetOutput::Text, None).1, "");
    }
}
