//! The table of the docs, made from the rules and the languages.

use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

use crate::languages::LANGUAGES;
use crate::rules::RULES;

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md")
}

/// Fails unless the page says what the suite runs; with `GRID_BLESS` the page is written.
pub(crate) fn check() -> Result<(), Failed> {
    let (path, page) = (path(), page());
    if std::env::var_os("GRID_BLESS").is_some() {
        std::fs::write(&path, page)?;
        return Ok(());
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written == page {
        return Ok(());
    }
    Err("docs/conformance.md is not up to date; GRID_BLESS=1 writes it".into())
}

fn page() -> String {
    let mut page = String::from(
        "# Conformance\n\nWhat a worker in each language does, in the same words for all. Each `yes` is a test, \
         `conformance_<language>_<rule>`;\na number is a reason below. This page is made by the suite in \
         [tests/conformance](../tests/conformance), and checked by it.\n\n| rule |",
    );
    for language in LANGUAGES {
        page.push_str(&format!(" {} |", language.title));
    }
    page.push_str(&format!("\n| --- |{}\n", " --- |".repeat(LANGUAGES.len())));
    let mut reasons: Vec<&str> = Vec::new();
    for rule in RULES {
        page.push_str(&format!("| {} |", rule.says));
        for language in LANGUAGES {
            match language.excuse(rule.name) {
                None => page.push_str(" yes |"),
                Some(reason) => {
                    let place = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                        reasons.push(reason);
                        reasons.len() - 1
                    });
                    page.push_str(&format!(" ({}) |", place + 1));
                }
            }
        }
        page.push('\n');
    }
    for (place, reason) in reasons.iter().enumerate() {
        page.push_str(&format!("\n({}) {reason}.\n", place + 1));
    }
    page
}
