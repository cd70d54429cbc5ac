//! What a person should see as Events.

use super::Note;
use crate::api::{EngineKind, ModelServiceSpec};
use crate::problems::Problem;
use crate::shape::{Shape, path};

/// What is wrong with a specification.
pub(super) fn invalid(problems: &[Problem]) -> Vec<Note> {
    let note = |problem: &Problem| Note {
        is_warning: true,
        reason: "Invalid".to_owned(),
        field: problem.field.clone(),
        message: problem.to_string(),
    };
    problems.iter().map(note).collect()
}

/// What is carried out, but may not do what is expected.
pub(super) fn advice(spec: &ModelServiceSpec, shapes: &[Shape<'_>]) -> Vec<Note> {
    let mut found = Vec::new();
    let mut warn = |reason: &str, field: String, message: String| {
        found.push(Note { is_warning: true, reason: reason.to_owned(), field, message });
    };
    if shapes.iter().any(|shape| shape.crosses_vendors) {
        let message = "prefill and decode run on hardware of different vendors: KV passes through the host's memory, and nothing but a test with the model shows that responses are right";
        warn("AcrossVendors", "spec.transfer.acrossVendors".to_owned(), message.to_owned());
    }
    for shape in shapes {
        let role = shape.role;
        if spec.engine.kind == EngineKind::Vllm && role.parallelism.data > 1 && !role.parallelism.expert {
            let message = format!(
                "{}: vLLM has data-parallel ranks of their own for models with experts only; for others, set parallelism.data to 1 and raise replicas",
                shape.name
            );
            warn("RanksNeedExperts", format!("{}.parallelism.data", path(shape.name)), message);
        }
        if spec.engine.kind == EngineKind::Sglang && spec.model.served_names.len() > 1 {
            warn(
                "OneName",
                "spec.model.servedNames".to_owned(),
                "SGLang serves any name that requests use, and lists the first of servedNames only"
                    .to_owned(),
            );
        }
        let has_rdma = spec.transfer.as_ref().is_some_and(|transfer| transfer.rdma.is_some());
        if spec.roles.prefill.is_some() && !has_rdma && role.hardware.gpu.is_some() {
            let message = "KV goes over the pods' network, which is often slower than to compute the prompt again: set transfer.rdma where nodes have it";
            warn("NoRdma", "spec.transfer.rdma".to_owned(), message.to_owned());
        }
    }
    found.dedup();
    found
}
