//! Errors in the form of vLLM 0.32.

use crate::model::SubmitError;
use http::StatusCode;
use serde_json::{Value, json};

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body is not the JSON that the path expects.
    #[error("{0}")]
    BadJson(#[source] serde_json::Error),
    /// The `content-type` is not JSON.
    #[error("Unsupported Media Type: Only 'application/json' is allowed")]
    NotJson,
    /// A field has a value that the engine cannot serve.
    #[error("{0}")]
    Invalid(String),
    /// The engine serves no such model or adapter.
    #[error("The model `{0}` does not exist.")]
    UnknownModel(String),
    /// The model cannot take the request, now or ever.
    #[error("{0}")]
    Submit(#[from] SubmitError),
    /// The queue is at its limit.
    #[error(
        "The engine is currently busy and cannot accept new requests. Please try again later or on a \
         different instance."
    )]
    Busy,
    /// The body is longer than the engine reads.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// What a leg of a request needed from another engine did not come.
    #[error("Internal server error")]
    Internal,
    /// A leg of a request fails in the words of its engine.
    #[error("{1}")]
    Leg(StatusCode, String),
    /// A fault that was ordered.
    #[error("simulated fault")]
    Fault(StatusCode),
}

// === impl ApiError ===

impl ApiError {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadJson(_) | Self::NotJson | Self::Invalid(_) | Self::Submit(_) => StatusCode::BAD_REQUEST,
            Self::UnknownModel(_) => StatusCode::NOT_FOUND,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Leg(status, _) | Self::Fault(status) => *status,
        }
    }

    /// The body for OpenAI's protocols.
    pub fn openai_body(&self) -> Value {
        let param = matches!(self, Self::UnknownModel(_)).then_some("model");
        json!({"error": {
            "message": self.to_string(), "type": self.kind(), "param": param, "code": self.status().as_u16(),
        }})
    }

    /// The body of SGLang and TensorRT-LLM.
    pub fn flat_body(&self) -> Value {
        let param = matches!(self, Self::UnknownModel(_)).then_some("model");
        json!({
            "object": "error", "message": self.to_string(), "type": self.kind(), "param": param,
            "code": self.status().as_u16(),
        })
    }

    /// The body for Anthropic's protocol.
    pub fn anthropic_body(&self) -> Value {
        let kind = match self.status() {
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": self.to_string()}})
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::BadJson(_) | Self::NotJson => "Bad Request",
            Self::Invalid(_) | Self::Submit(_) | Self::Leg(StatusCode::BAD_REQUEST, _) => "BadRequestError",
            Self::UnknownModel(_) => "NotFoundError",
            Self::Busy => "Service Unavailable",
            Self::TooLarge(_) => "Request Entity Too Large",
            Self::Internal | Self::Leg(..) => "InternalServerError",
            Self::Fault(status) => status.canonical_reason().unwrap_or("Fault"),
        }
    }
}
