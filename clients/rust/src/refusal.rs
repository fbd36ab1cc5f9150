//! Why a call failed: the ErrorInfo that every refusal of a node carries in its status.

use serde_json::json;
use tonic::Status;
use tonic_types::StatusExt;

use crate::events::say;

/// A node's own words; docs/reference/errors.md lists the reasons.
pub struct Refusal {
    pub reason: String,
    /// DONE, NOT_DONE or UNKNOWN: what became of the request.
    pub outcome: String,
    /// The same request, unchanged, may succeed later.
    pub retryable: bool,
}

impl Refusal {
    /// Returns why a node refused; `None`: no node said it, the connection or the deadline failed.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        let told = |name: &str| info.metadata.get(name).cloned().unwrap_or_default();
        (info.domain == "tidelog").then(|| Self {
            outcome: told("outcome"),
            retryable: told("retryable") == "true",
            reason: info.reason,
        })
    }
}

/// Prints why a whole call failed.
pub fn say_error(status: &Status) {
    let refusal = Refusal::of(status);
    let told = refusal.as_ref();
    say(
        "error",
        json!({
            "status": format!("{:?}", status.code()),
            "reason": told.map(|refusal| &refusal.reason),
            "outcome": told.map_or("UNKNOWN", |refusal| &refusal.outcome),
            "retryable": told.is_some_and(|refusal| refusal.retryable),
            "message": status.message(),
        }),
    );
}

/// Prints an event that a call's failure is the cause of.
pub fn say_status(event: &str, status: &Status) {
    let reason = Refusal::of(status).map(|refusal| refusal.reason);
    say(
        event,
        json!({ "status": format!("{:?}", status.code()), "reason": reason }),
    );
}
