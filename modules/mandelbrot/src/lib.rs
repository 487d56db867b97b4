//! Draws a tile of the Mandelbrot set.
//!
//! A message is the map `{left, top, step, width, height, limit}`; the answer is a PNG of `width` by `height`. Its
//! pixels are 0 inside the set, else how soon the point left it, 1 to 255, and have a palette. With `raw: true` in the
//! map, the answer is these bytes alone, row by row. The map is in CBOR or, as text, in JSON.

use grid_guest::from_cbor;
use serde::{Deserialize, Deserializer};

/// What to draw.
#[derive(Debug, Deserialize)]
struct Tile {
    #[serde(deserialize_with = "number")]
    left: f64,
    #[serde(deserialize_with = "number")]
    top: f64,
    #[serde(deserialize_with = "number")]
    step: f64,
    width: u32,
    height: u32,
    limit: u32,
    #[serde(default)]
    raw: bool,
}

/// Takes whole numbers where a real one is expected: people write `-2`, not `-2.0`.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Any(f64),
    }
    Number::deserialize(deserializer).map(|Number::Any(number)| number)
}

/// Points of one tile: 16 MiB of answer, raw or as a PNG that does not get smaller.
const POINTS_MAX: u64 = 16 << 20;

fn answer(message: &[u8]) -> Result<Vec<u8>, String> {
    let tile = read(message)?;
    let pixels = draw(&tile)?;
    if tile.raw { Ok(pixels) } else { png(&tile, &pixels).map_err(|error| error.to_string()) }
}

/// A map in CBOR begins with another byte than one in JSON.
fn read(message: &[u8]) -> Result<Tile, String> {
    if message.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(message).map_err(|error| error.to_string())
    } else {
        from_cbor(message).map_err(|error| error.to_string())
    }
}

fn draw(tile: &Tile) -> Result<Vec<u8>, String> {
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
            return u8::try_from(u64::from(step) * 254 / u64::from(limit) + 1).unwrap_or(u8::MAX);
        }
        imaginary = 2.0 * real * imaginary + y;
        real = squared - other + x;
    }
    0
}

fn png(tile: &Tile, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, tile.width, tile.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette());
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

/// A colour for each shade: black inside; outside each channel rises and falls once, red before green before blue, from
/// brown through gold to white. The square root gives the few shades that most points have the most of the colours.
fn palette() -> Vec<u8> {
    let colour = |shade: u8| {
        let turn = (f64::from(shade) / 255.0).sqrt() * std::f64::consts::TAU;
        // Between 0 and 255 by construction; a cast of a real number saturates.
        [0.0, 0.4, 0.8]
            .map(|behind| if shade == 0 { 0 } else { (127.5 - 127.5 * (turn - behind).cos()) as u8 })
    };
    (0..=255).flat_map(colour).collect()
}

grid_guest::handler!(answer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_inside_and_two_is_outside() {
        assert_eq!(shade(0.0, 0.0, 100), 0);
        assert_ne!(shade(2.0, 2.0, 100), 0);
    }

    #[test]
    fn a_shade_grows_with_the_time_that_a_point_stays_whatever_the_limit() {
        // A point of the real axis a little right of the set stays π/√distance steps.
        assert_eq!([2.0, 0.5, 0.251].map(|x| shade(x, 0.0, 100)), [6, 13, 247]);
        let late = shade(0.25 + 3e-14, 0.0, 1 << 26);
        assert!((60..80).contains(&late), "{late}");
    }

    const TILE: Tile =
        Tile { left: -2.0, top: -1.0, step: 0.25, width: 12, height: 8, limit: 50, raw: false };

    #[test]
    fn the_pixels_of_the_png_are_the_raw_bytes() {
        let pixels = draw(&TILE).unwrap();
        let file = png(&TILE, &pixels).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut again = vec![0; reader.output_buffer_size().unwrap()];
        let about = reader.next_frame(&mut again).unwrap();
        assert_eq!((about.width, about.height), (12, 8));
        assert_eq!(again, pixels);
        assert_eq!(reader.info().palette.as_ref().unwrap().len(), 3 * 256);
    }

    #[test]
    fn a_tile_is_read_as_cbor_and_as_json_with_whole_numbers_and_real_ones() {
        let json = r#" {"left":-2,"top":-1,"step":0.25,"width":12,"height":8,"limit":50}"#;
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let cbor = grid_guest::to_cbor(&value).unwrap();
        for message in [json.as_bytes(), &cbor] {
            assert_eq!(draw(&read(message).unwrap()), draw(&TILE));
        }
        assert!(read(b"{}").is_err() && read(b"").is_err());
    }

    #[test]
    fn a_tile_of_nothing_or_of_too_much_is_refused() {
        assert!(draw(&Tile { width: 1 << 20, height: 1 << 20, ..TILE }).is_err());
        assert!(png(&Tile { width: 0, ..TILE }, &[]).is_err());
    }
}
