//! The API server's audit log: the calls of service accounts, with their statuses.

use serde_json::Value;

/// Calls of service accounts, without their contents; a watch counts when it ends.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

/// A call of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `get`, `list`, `watch`, ...
    pub verb: String,
    /// The path with its query.
    pub uri: String,
    /// The status of the response.
    pub status: u16,
}

// === impl Call ===

impl Call {
    /// The kind of object with its group, such as `leases.coordination.k8s.io`.
    pub fn resource(&self) -> String {
        let path = self.uri.split('?').next().unwrap_or_default();
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let group = match parts.next() {
            Some("apis") => parts.next(),
            _ => None,
        };
        // After the version; an object of a namespace has that before its kind.
        let mut rest = parts.skip(1).peekable();
        if rest.next_if_eq(&"namespaces").is_some() {
            rest.next();
        }
        let kind = rest.next().unwrap_or(path);
        group.map_or_else(|| kind.to_owned(), |group| format!("{kind}.{group}"))
    }
}

/// The calls of a user in an audit log.
pub(super) fn calls(log: &str, user: &str) -> Vec<Call> {
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_user =
        events.filter(|event| event.pointer("/user/username").and_then(Value::as_str) == Some(user));
    let call = |event: Value| {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let status = event.pointer("/responseStatus/code").and_then(Value::as_u64);
        Call {
            verb: text("verb"),
            uri: text("requestURI"),
            status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or_default(),
        }
    };
    of_user.map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_users_own_calls_count() {
        let log = r#"{"user":{"username":"a"},"verb":"list","requestURI":"/api/v1/pods","responseStatus":{"code":403}}
{"user":{"username":"b"},"verb":"get"}
"#;
        let expected = Call { verb: "list".to_owned(), uri: "/api/v1/pods".to_owned(), status: 403 };
        assert_eq!(calls(log, "a"), [expected]);
    }

    #[test]
    fn a_path_names_a_kind_with_its_group() {
        for (uri, resource) in [
            ("/api/v1/namespaces/llm/pods?watch=true", "pods"),
            ("/apis/coordination.k8s.io/v1/namespaces/llm/leases/warmpath", "leases.coordination.k8s.io"),
            (
                "/apis/inference.networking.k8s.io/v1/inferencepools",
                "inferencepools.inference.networking.k8s.io",
            ),
            ("/version", "/version"),
        ] {
            let call = Call { verb: String::new(), uri: uri.to_owned(), status: 200 };
            assert_eq!(call.resource(), resource);
        }
    }
}
