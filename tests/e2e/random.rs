//! Modules that nobody wrote.

use grid_tests::{RandomModules, within_minutes};

#[tokio::test]
async fn two_thousand_random_modules_are_refused_with_a_reason_or_run_and_end_with_one() {
    within_minutes(9, async {
        let mut modules = RandomModules::start();
        modules.run(0..2000).await;
        modules.check_host();
        let count = |what| modules.ends.iter().filter(|(how, _)| how.starts_with(what)).map(|(_, n)| n).sum();
        let (ran, refused): (u64, u64) = (count("ran: "), count("refused: "));
        assert_eq!(ran + refused, 2000);
        // The generator is of use only if both happen.
        assert!(ran > 1000 && refused > 200, "{:#?}", modules.ends);
    })
    .await;
}
