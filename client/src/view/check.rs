//! Checks of a machine.

use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// Nothing stands in the way.
    Ok,
    /// It works, less well than it could; or it could not be found out.
    Warning,
    /// It does not work.
    Fails,
}

impl CheckState {
    /// The state in a word: `ok`, `warning` or `fails`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fails => "fails",
        }
    }
}

/// One check of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckView {
    /// What mends it, a command where there is one; null if nothing has to be mended, or only something else.
    pub advice: Option<String>,
    /// What was checked, in a word.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// Why that is not as it should be; null if it is.
    pub reason: Option<String>,
    /// `ok`, `warning` or `fails`.
    pub state: CheckState,
}

impl CheckView {
    /// A check that came out well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { advice: None, check, found: found.into(), reason: None, state: CheckState::Ok }
    }

    /// The check with a warning.
    #[must_use]
    pub fn warning(self, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        self.with(CheckState::Warning, reason.into(), advice.into())
    }

    /// The check that failed.
    #[must_use]
    pub fn fails(self, reason: impl Into<String>, advice: impl Into<String>) -> Self {
        self.with(CheckState::Fails, reason.into(), advice.into())
    }

    fn with(self, state: CheckState, reason: String, advice: String) -> Self {
        let advice = (!advice.is_empty()).then_some(advice);
        Self { advice, reason: Some(reason), state, ..self }
    }
}

/// All checks of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiagnosisView {
    /// The checks, in the order in which people read them.
    pub checks: Vec<CheckView>,
    /// Number of checks that fail.
    pub fails: usize,
    /// Number of checks with a warning.
    pub warnings: usize,
}

impl From<Vec<CheckView>> for DiagnosisView {
    fn from(checks: Vec<CheckView>) -> Self {
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        let (fails, warnings) = (count(CheckState::Fails), count(CheckState::Warning));
        Self { checks, fails, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::json;
    use serde_json::json;

    #[test]
    fn the_checks_of_a_machine() {
        let good = CheckView::ok("mtu", "1452 bytes");
        let bad =
            CheckView::ok("clock", "9 minutes behind").fails("tickets expire", "timedatectl set-ntp true");
        let odd = CheckView::ok("versions", "0.1.0").warning("no manager is known", "");
        let expected = json!({
            "checks": [
                { "advice": null, "check": "mtu", "found": "1452 bytes", "reason": null, "state": "ok" },
                {
                    "advice": "timedatectl set-ntp true",
                    "check": "clock",
                    "found": "9 minutes behind",
                    "reason": "tickets expire",
                    "state": "fails",
                },
                {
                    "advice": null,
                    "check": "versions",
                    "found": "0.1.0",
                    "reason": "no manager is known",
                    "state": "warning",
                },
            ],
            "fails": 1,
            "warnings": 1,
        });
        assert_eq!(json(&DiagnosisView::from(vec![good, bad, odd])), expected);
        for state in [CheckState::Ok, CheckState::Warning, CheckState::Fails] {
            assert_eq!(json(&state), state.label());
        }
    }
}
