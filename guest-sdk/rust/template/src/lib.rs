//! A worker that answers with the sum of the numbers that it was sent.

use grid_guest::Worker;

/// The sum so far.
struct Sum(i64);

impl Worker for Sum {
    fn new(_arguments: &[u8]) -> Result<Self, String> {
        Ok(Self(0))
    }

    fn handle_msg(&mut self, message: &[u8]) {
        match grid_guest::from_cbor::<i64>(message) {
            Ok(number) => self.0 = self.0.saturating_add(number),
            Err(error) => return grid_guest::fail(&format!("expected an integer: {error}")),
        }
        grid_guest::send_cbor(&self.0);
    }
}

grid_guest::worker!(Sum);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_summed() {
        let mut worker = Sum::new(b"").unwrap();
        for number in [1, 41] {
            let done = grid_guest::testing::deliver(&mut worker, &grid_guest::to_cbor(&number).unwrap(), 1);
            assert_eq!(done.failed, None);
        }
        assert_eq!(worker.0, 42);
    }
}
