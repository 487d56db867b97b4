//! The conformance suite: the same list of rules for a worker in every language, from one table.
//!
//! `conformance_<language>_<rule>` is one cell. The worker of every language does what the first byte of a message says
//! (`modules/conformance`), in a host of its own process. The table in `docs/conformance.md` is made by this suite, and a
//! test holds it true: `GRID_BLESS=1 cargo test -p grid-tests --test conformance table` writes it.
//!
//! One process runs all of it, so that each module is compiled once: a component with Python in it takes seconds.

mod cbor;
mod languages;
mod rules;
mod table;
mod testbench;

use std::sync::LazyLock;

use libtest_mimic::{Arguments, Failed, Trial};

use languages::{LANGUAGES, SdkLanguage};
use rules::{RULES, Rule};
use testbench::ConformanceGrid;

/// The grid on which everything runs; processes and all.
static ARENA: LazyLock<ConformanceGrid> = LazyLock::new(ConformanceGrid::new);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = vec![Trial::test("the_table_in_the_docs_is_the_one_that_the_suite_makes", table::check)];
    for language in LANGUAGES {
        for rule in RULES {
            if language.excuse(rule.name).is_none() {
                let name = format!("conformance_{}_{}", language.name, rule.name);
                trials.push(Trial::test(name, move || run(language, rule)));
            }
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // A static is never dropped, and its processes would stay.
    LazyLock::get(&ARENA).into_iter().for_each(ConformanceGrid::end);
    conclusion.exit();
}

fn run(language: &'static SdkLanguage, rule: &Rule) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = ARENA.bench(language)?;
    let checked =
        runtime.block_on(async { tokio::time::timeout(rules::TIME_MAX, (rule.check)(bench)).await });
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(wrong)) => Err(wrong.into()),
        Err(_) => Err(format!("no end after {:?}", rules::TIME_MAX).into()),
    }
}
