//! Estimates a mean by drawing at random: π, or what a European call option is worth.
//!
//! A message is the CBOR map `{seed, count}`, or `{seed, count, option: {spot, strike, rate, volatility, years}}`; the
//! answer is the map `{seed, count, mean, error}`, where `error` is the standard error of the mean. The same message
//! gets the same answer, to the last bit, on any machine: the draws come from the seed alone.

use grid_guest::{from_cbor, to_cbor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Deserializer, Serialize};

/// What to estimate.
#[derive(Debug, Deserialize)]
struct Question {
    seed: u64,
    count: u64,
    option: Option<Call>,
}

/// The right to buy something at a price on a day, and what is known of it now.
#[derive(Debug, Deserialize)]
struct Call {
    /// What it costs today.
    #[serde(deserialize_with = "number")]
    spot: f64,
    /// What it may be bought for.
    #[serde(deserialize_with = "number")]
    strike: f64,
    /// Interest without risk, a year: 0.05 is five per cent.
    #[serde(deserialize_with = "number")]
    rate: f64,
    /// Standard deviation of the price's logarithm, a year.
    #[serde(deserialize_with = "number")]
    volatility: f64,
    /// Until that day.
    #[serde(deserialize_with = "number")]
    years: f64,
}

/// An estimate of a mean. Estimates of other seeds add up: take the means' mean, weighed by their counts.
#[derive(Debug, PartialEq, Serialize)]
struct Estimate {
    seed: u64,
    count: u64,
    mean: f64,
    error: f64,
}

/// Takes whole numbers where a real one is expected: people write `100`, not `100.0`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Any(f64),
    }
    Number::deserialize(deserializer).map(|Number::Any(number)| number)
}

fn answer(message: &[u8]) -> Result<Vec<u8>, String> {
    let question: Question = from_cbor(message).map_err(|error| error.to_string())?;
    to_cbor(&estimate(&question)?).map_err(|error| error.to_string())
}

fn estimate(question: &Question) -> Result<Estimate, String> {
    if question.count == 0 {
        return Err("a count of 0 estimates nothing".to_owned());
    }
    let mut random = ChaCha8Rng::seed_from_u64(question.seed);
    let (mean, error) = match &question.option {
        None => mean_of(question.count, || quarter(&mut random)),
        Some(call) => {
            call.check()?;
            mean_of(question.count, || call.payoff(&mut random))
        }
    };
    Ok(Estimate { seed: question.seed, count: question.count, mean, error })
}

/// The mean of so many draws and its standard error, summed up in one pass by Welford's recurrence.
fn mean_of(count: u64, mut draw: impl FnMut() -> f64) -> (f64, f64) {
    let (mut mean, mut squares, mut seen) = (0.0, 0.0, 0.0);
    for _ in 0..count {
        seen += 1.0;
        let value = draw();
        let before = value - mean;
        mean += before / seen;
        squares += before * (value - mean);
    }
    (mean, (squares / seen / seen).sqrt())
}

/// Four if a point of the unit square is in the quarter of a circle, else nothing; on average π.
fn quarter(random: &mut ChaCha8Rng) -> f64 {
    let (x, y) = (unit(random), unit(random));
    if x * x + y * y < 1.0 { 4.0 } else { 0.0 }
}

/// A number from 0 inclusive to 1 exclusive, on the grid of 2⁻⁵³.
fn unit(random: &mut ChaCha8Rng) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (random.next_u64() >> 11) as f64 * STEP
}

/// A number of the standard normal distribution, by the method of Box and Muller.
fn normal(random: &mut ChaCha8Rng) -> f64 {
    // The logarithm of 0 is none.
    let (radius, angle) = (1.0 - unit(random), unit(random));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

impl Call {
    fn check(&self) -> Result<(), String> {
        for (name, number) in [("spot", self.spot), ("strike", self.strike), ("years", self.years)] {
            if !(number.is_finite() && number > 0.0) {
                return Err(format!("{name} is a number above 0, not {number}"));
            }
        }
        if !(self.volatility.is_finite() && self.volatility >= 0.0) {
            return Err(format!("volatility is a number of at least 0, not {}", self.volatility));
        }
        if !self.rate.is_finite() {
            return Err(format!("rate is a number, not {}", self.rate));
        }
        Ok(())
    }

    /// What the option pays on its day, at today's value, for one way that the price may take: geometric Brownian motion.
    fn payoff(&self, random: &mut ChaCha8Rng) -> f64 {
        let drift = (self.rate - self.volatility * self.volatility / 2.0) * self.years;
        let spread = self.volatility * self.years.sqrt();
        let price = self.spot * (drift + spread * normal(random)).exp();
        (-self.rate * self.years).exp() * (price - self.strike).max(0.0)
    }
}

grid_guest::handler!(answer);

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call { spot: 100.0, strike: 100.0, rate: 0.05, volatility: 0.2, years: 1.0 }
    }

    #[test]
    fn pi_is_within_four_standard_errors() {
        for seed in 0..8 {
            let found = estimate(&Question { seed, count: 100_000, option: None }).unwrap();
            assert!((found.mean - std::f64::consts::PI).abs() < 4.0 * found.error, "{found:?}");
            assert!(found.error < 0.006, "{found:?}");
        }
    }

    #[test]
    fn a_call_is_worth_what_black_and_scholes_say() {
        let found = estimate(&Question { seed: 1, count: 200_000, option: Some(call()) }).unwrap();
        // The formula gives 10.4506 for these numbers.
        assert!((found.mean - 10.4506).abs() < 4.0 * found.error, "{found:?}");
    }

    #[test]
    fn without_volatility_a_call_is_worth_the_discounted_difference() {
        let certain = Call { volatility: 0.0, ..call() };
        let found = estimate(&Question { seed: 1, count: 10, option: Some(certain) }).unwrap();
        assert!((found.mean - (100.0 - 100.0 * (-0.05_f64).exp())).abs() < 1e-9, "{found:?}");
        assert!(found.error < 1e-9, "{found:?}");
    }

    #[test]
    fn a_seed_decides_and_another_seed_decides_otherwise() {
        let ask = |seed| estimate(&Question { seed, count: 1000, option: None }).unwrap();
        assert_eq!(ask(7), ask(7));
        assert_ne!(ask(7).mean.to_bits(), ask(8).mean.to_bits());
    }

    #[test]
    fn what_has_no_estimate_is_refused() {
        assert!(estimate(&Question { seed: 1, count: 0, option: None }).is_err());
        for wrong in [Call { spot: f64::NAN, ..call() }, Call { years: -1.0, ..call() }] {
            assert!(estimate(&Question { seed: 1, count: 1, option: Some(wrong) }).is_err());
        }
        assert!(answer(b"nonsense").is_err());
    }

    #[test]
    fn whole_numbers_are_taken_where_real_ones_are_meant() {
        #[derive(Serialize)]
        struct Whole {
            spot: u8,
            strike: f32,
            rate: i8,
            volatility: f64,
            years: u64,
        }
        let whole = Whole { spot: 100, strike: 99.5, rate: -1, volatility: 0.25, years: 2 };
        let call: Call = from_cbor(&to_cbor(&whole).unwrap()).unwrap();
        assert_eq!((call.spot, call.strike, call.rate, call.years), (100.0, 99.5, -1.0, 2.0));
    }
}
