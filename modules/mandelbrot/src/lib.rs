//! Draws a tile of the Mandelbrot set.
//!
//! A message is the CBOR map `{left, top, step, width, height, limit}`; the answer is `width * height` bytes, row by
//! row: 0 inside the set, else how soon the point left it, 1 to 255.

use grid_guest::from_cbor;
use serde::Deserialize;

/// What to draw.
#[derive(Debug, Deserialize)]
struct Tile {
    left: f64,
    top: f64,
    step: f64,
    width: u32,
    height: u32,
    limit: u32,
}

/// Points of one tile: 16 MiB of answer.
const POINTS_MAX: u64 = 16 << 20;

fn draw(message: &[u8]) -> Result<Vec<u8>, String> {
    let tile: Tile = from_cbor(message).map_err(|error| error.to_string())?;
    let points = u64::from(tile.width) * u64::from(tile.height);
    if points > POINTS_MAX {
        return Err(format!("a tile has {POINTS_MAX} points at most, not {points}"));
    }
    let mut pixels = Vec::new();
    for row in 0..tile.height {
        for column in 0..tile.width {
            let x = tile.left + f64::from(column) * tile.step;
            let y = tile.top + f64::from(row) * tile.step;
            pixels.push(shade(x, y, tile.limit));
        }
    }
    Ok(pixels)
}

fn shade(x: f64, y: f64, limit: u32) -> u8 {
    let (mut real, mut imaginary) = (0.0, 0.0);
    for step in 0..limit {
        let (squared, other) = (real * real, imaginary * imaginary);
        if squared + other > 4.0 {
            return u8::try_from(step * 254 / limit.max(1) + 1).unwrap_or(u8::MAX);
        }
        imaginary = 2.0 * real * imaginary + y;
        real = squared - other + x;
    }
    0
}

grid_guest::handler!(draw);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_inside_and_two_is_outside() {
        assert_eq!(shade(0.0, 0.0, 100), 0);
        assert_ne!(shade(2.0, 2.0, 100), 0);
    }
}
