//! Makes an image on standard input, PNG or JPEG, small enough for a square, and answers a PNG.
//!
//! The answer goes to standard output; where there is a folder `/out`, to the file `thumbnail.png` in it, and standard
//! output has its size. Images are never enlarged, keep their proportions, and stand upright as their EXIF data say.

use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

/// The longest side of what is asked for, in pixels.
const SIZE_MAX: u32 = 4096;

/// The longest side of an input: a header of 30 bytes may claim 4 294 967 295.
const SIDE_MAX: u32 = 20_000;

/// What decoding may allocate: 128 MiB are 44 million pixels of three bytes, more than a camera's 24. Whatever a file
/// claims beyond is refused before anything is allocated.
const DECODED_MAX: u64 = 128 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("thumbnail: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let size = size(arguments.next().as_deref(), arguments.next().as_deref())?;
    let mut file = Vec::new();
    std::io::stdin().read_to_end(&mut file).map_err(|error| format!("cannot read: {error}"))?;
    let (small, png) = thumbnail(&file, size)?;
    let folder = Path::new("/out");
    let written = if folder.is_dir() {
        std::fs::write(folder.join("thumbnail.png"), png)
            .and_then(|()| writeln!(std::io::stdout(), "{} x {}", small.width(), small.height()))
    } else {
        std::io::stdout().write_all(&png)
    };
    written.map_err(|error| format!("cannot write: {error}"))
}

fn size(argument: Option<&str>, another: Option<&str>) -> Result<u32, String> {
    let size = argument.filter(|_| another.is_none()).and_then(|size| size.parse().ok());
    size.filter(|size| (1..=SIZE_MAX).contains(size))
        .ok_or_else(|| format!("usage: thumbnail SIZE, with the longest side in pixels, 1 to {SIZE_MAX}"))
}

/// The image made small, and as a PNG.
fn thumbnail(file: &[u8], size: u32) -> Result<(DynamicImage, Vec<u8>), String> {
    let mut image = decode(file).map_err(|error| error.to_string())?;
    if image.width().max(image.height()) > size {
        image = image.thumbnail(size, size);
    }
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).map_err(|error| error.to_string())?;
    Ok((image, png.into_inner()))
}

fn decode(file: &[u8]) -> image::ImageResult<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format()?;
    let mut limits = Limits::no_limits();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE_MAX), Some(SIDE_MAX));
    limits.max_alloc = Some(DECODED_MAX);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // The decoder's own limit does not count what it decodes to.
    limits.reserve(decoder.total_bytes())?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    /// Red on the left, blue on the right.
    fn halves(width: u32, height: u32) -> DynamicImage {
        let colour = |x, _| image::Rgb(if x < width / 2 { [255, 0, 0] } else { [0, 0, 255] });
        image::RgbImage::from_fn(width, height, colour).into()
    }

    #[test]
    fn the_longest_side_is_what_was_asked_for_and_the_colours_stay() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let (small, png) = thumbnail(&file(&halves(640, 320), format), 64).unwrap();
            assert_eq!((small.width(), small.height()), (64, 32));
            let again = image::load_from_memory(&png).unwrap().to_rgb8();
            let (left, right) = (again.get_pixel(8, 16).0, again.get_pixel(56, 16).0);
            assert!(left[0] > 240 && left[2] < 15 && right[0] < 15 && right[2] > 240, "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_small_image_stays_as_it_is_and_a_thin_one_keeps_a_pixel() {
        let (small, _) = thumbnail(&file(&halves(10, 4), ImageFormat::Png), 64).unwrap();
        assert_eq!((small.width(), small.height()), (10, 4));
        let (small, _) = thumbnail(&file(&halves(4000, 2), ImageFormat::Png), 16).unwrap();
        assert_eq!((small.width(), small.height()), (16, 1));
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused_before_anything_is_allocated() {
        for (width, height) in [(u32::MAX >> 1, 1), (20_000, 20_000_u32)] {
            let mut claims = file(&halves(4, 4), ImageFormat::Png);
            claims[16..20].copy_from_slice(&width.to_be_bytes());
            claims[20..24].copy_from_slice(&height.to_be_bytes());
            let crc = crc(&claims[12..29]);
            claims[29..33].copy_from_slice(&crc.to_be_bytes());
            let error = thumbnail(&claims, 64).unwrap_err();
            assert!(error.contains("limit"), "{error}");
        }
    }

    /// The check sum of a PNG's chunk, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
    }

    #[test]
    fn what_is_no_image_and_no_size_is_refused() {
        assert!(thumbnail(b"GIF89a", 64).is_err());
        assert!(thumbnail(&file(&halves(64, 64), ImageFormat::Png)[..60], 64).is_err());
        for wrong in [None, Some("0"), Some("4097"), Some("64x64")] {
            assert!(size(wrong, None).is_err());
        }
        assert!(size(Some("64"), Some("64")).is_err());
        assert_eq!(size(Some("64"), None), Ok(64));
    }
}
