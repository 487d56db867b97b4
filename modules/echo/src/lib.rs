//! Sends back what it gets.

use std::convert::Infallible;

fn echo(message: &[u8]) -> Result<Vec<u8>, Infallible> {
    Ok(message.to_vec())
}

grid_guest::handler!(echo);
