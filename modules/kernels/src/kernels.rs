//! Work that computes and nothing else. The same file is compiled for the grid and for this machine, so that `cargo xtask
//! bench compute` can tell what a task costs beside the processor's own speed.
//!
//! Vectors have 128 bits on both sides: SSE2 is part of every x86-64, and `simd128` is switched on for WebAssembly where it
//! helps: not for `sha256`.

use std::array::from_fn;

/// A kernel: a number in, a number out that depends on all of the work.
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// Does the work. What the number means is said at each function.
    pub run: fn(u32) -> u64,
    /// A number that makes a task of 50 to 100 ms.
    pub task: u32,
}

/// All kernels.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "primes", run: |from| primes(from, from + PRIMES_SPAN), task: 100_000 },
    Kernel { name: "sha256", run: |links| sha256_chain(links), task: 256 },
    Kernel { name: "nbody", run: |steps| nbody(steps), task: 1_500_000 },
    Kernel { name: "matmul", run: |times| matmul(times, multiply_tiles), task: 72 },
    Kernel { name: "rows", run: |times| matmul(times, multiply_rows), task: 40 },
    Kernel { name: "thousand", run: |from| primes(from, from + 1000), task: 100_000 },
];

/// The kernel of this name.
pub fn kernel(name: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|kernel| kernel.name == name)
}

/// Numbers that a task of `primes` looks at.
const PRIMES_SPAN: u32 = 5000;

/// Number of primes `p` with `from <= p < to`, by trial division with every smaller number.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn primes(from: u32, to: u32) -> u64 {
    (from..to).filter(|number| is_prime(*number)).count() as u64
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..number).all(|divisor| !number.is_multiple_of(divisor))
}

/// Bytes of one link of the chain.
const LINK_BYTES: usize = 64 << 10;

/// Hashes 64 KiB `links` times, each time with the last digest in front; returns the last digest's first bytes.
fn sha256_chain(links: u32) -> u64 {
    let mut data = vec![0u8; LINK_BYTES];
    for (place, byte) in data.iter_mut().enumerate() {
        *byte = (place % 251) as u8;
    }
    for _ in 0..links {
        let digest = sha256(&data);
        data[..32].copy_from_slice(&digest);
    }
    u64::from_le_bytes(std::array::from_fn(|place| data[place]))
}

/// SHA-256, FIPS 180-4.
fn sha256(data: &[u8]) -> [u8; 32] {
    let mut state: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let mut blocks = data.chunks_exact(64);
    for block in &mut blocks {
        compress(&mut state, block);
    }
    let rest = blocks.remainder();
    let mut last = [0u8; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    for block in last[..end].chunks_exact(64) {
        compress(&mut state, block);
    }
    let mut digest = [0u8; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
const ROUND: [u32; 64] = [
    0x428a_2f98,
    0x7137_4491,
    0xb5c0_fbcf,
    0xe9b5_dba5,
    0x3956_c25b,
    0x59f1_11f1,
    0x923f_82a4,
    0xab1c_5ed5,
    0xd807_aa98,
    0x1283_5b01,
    0x2431_85be,
    0x550c_7dc3,
    0x72be_5d74,
    0x80de_b1fe,
    0x9bdc_06a7,
    0xc19b_f174,
    0xe49b_69c1,
    0xefbe_4786,
    0x0fc1_9dc6,
    0x240c_a1cc,
    0x2de9_2c6f,
    0x4a74_84aa,
    0x5cb0_a9dc,
    0x76f9_88da,
    0x983e_5152,
    0xa831_c66d,
    0xb003_27c8,
    0xbf59_7fc7,
    0xc6e0_0bf3,
    0xd5a7_9147,
    0x06ca_6351,
    0x1429_2967,
    0x27b7_0a85,
    0x2e1b_2138,
    0x4d2c_6dfc,
    0x5338_0d13,
    0x650a_7354,
    0x766a_0abb,
    0x81c2_c92e,
    0x9272_2c85,
    0xa2bf_e8a1,
    0xa81a_664b,
    0xc24b_8b70,
    0xc76c_51a3,
    0xd192_e819,
    0xd699_0624,
    0xf40e_3585,
    0x106a_a070,
    0x19a4_c116,
    0x1e37_6c08,
    0x2748_774c,
    0x34b0_bcb5,
    0x391c_0cb3,
    0x4ed8_aa4a,
    0x5b9c_ca4f,
    0x682e_6ff3,
    0x748f_82ee,
    0x78a5_636f,
    0x84c8_7814,
    0x8cc7_0208,
    0x90be_fffa,
    0xa450_6ceb,
    0xbef9_a3f7,
    0xc671_78f2,
];

fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut schedule = [0u32; 64];
    for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    // The last two, which are read again before they are in memory.
    let mut last = [schedule[14], schedule[15]];
    for t in 16..64 {
        let (a, b) = (schedule[t - 15], last[0]);
        let low = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
        let high = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
        let word = schedule[t - 16].wrapping_add(low).wrapping_add(schedule[t - 7]).wrapping_add(high);
        schedule[t] = word;
        last = [last[1], word];
    }
    let [a, b, c, d, e, f, g, h] = *state;
    let mut words = schedule.iter().zip(&ROUND).map(|(word, constant)| word.wrapping_add(*constant));
    // What a round adds that does not depend on the one before is added before it.
    let mut known = h.wrapping_add(words.next().unwrap_or_default());
    let mut rest = [a, b, c, d, e, f, g];
    for word in words {
        let last = rest[6];
        rest = round(rest, known);
        known = last.wrapping_add(word);
    }
    let [a, b, c, d, e, f, g] = round(rest, known);
    let h = rest[6];
    for (word, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(more);
    }
}

/// A round, but for the last word of the state, which is part of what is `known`.
#[inline(always)]
fn round([a, b, c, d, e, f, g]: [u32; 7], known: u32) -> [u32; 7] {
    let sum = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let choice = (e & f) ^ (!e & g);
    let one = known.wrapping_add(choice).wrapping_add(sum);
    let sum = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    let majority = (a & b) ^ (a & c) ^ (b & c);
    let two = sum.wrapping_add(majority);
    [one.wrapping_add(two), a, b, c, d.wrapping_add(one), e, f]
}

/// A body: where it is, how fast, and how heavy.
#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

/// Seconds, in some unit, of a step.
const STEP: f64 = 0.001;

/// Moves five bodies that attract each other `steps` times; returns the bits of their kinetic energy.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn nbody(steps: u32) -> u64 {
    let mut bodies: [Body; 5] = std::array::from_fn(|number| {
        let n = number as f64;
        Body {
            place: [3.0 * n, 1.0 + n * n, 0.5 * n],
            speed: [0.3 - 0.1 * n, 0.05 * n, 0.2],
            mass: if number == 0 { 40.0 } else { 0.1 * n },
        }
    });
    for _ in 0..steps {
        step(&mut bodies);
    }
    let energy = |body: &Body| body.mass * body.speed.iter().map(|part| part * part).sum::<f64>() / 2.0;
    bodies.iter().map(energy).sum::<f64>().to_bits()
}

#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn step(bodies: &mut [Body; 5]) {
    let mut rest = &mut bodies[..];
    while let Some((one, others)) = rest.split_first_mut() {
        let mut speed = one.speed;
        for other in &mut *others {
            let between: [f64; 3] = std::array::from_fn(|axis| one.place[axis] - other.place[axis]);
            let square = between.iter().map(|part| part * part).sum::<f64>() + 0.01;
            let pull = STEP / (square * square.sqrt());
            for axis in 0..3 {
                let pulled = between[axis] * pull;
                speed[axis] -= pulled * other.mass;
                other.speed[axis] += pulled * one.mass;
            }
        }
        one.speed = speed;
        rest = others;
    }
    for body in bodies {
        for axis in 0..3 {
            body.place[axis] += STEP * body.speed[axis];
        }
    }
}

/// Rows and columns of each matrix.
const SIDE: usize = 256;

/// Multiplies a matrix with `times` others, each the last one moved by a row; returns the bits of a sum over all products.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn matmul(times: u32, multiply: fn(&[f32], &[f32], &mut [f32])) -> u64 {
    let times = times as usize;
    let entry = |place: usize| (place % 17) as f32 / 17.0 - 0.5;
    let left: Vec<f32> = (0..SIDE * SIDE).map(entry).collect();
    let right: Vec<f32> = (0..SIDE * (SIDE + times)).map(|place| entry(place * 7)).collect();
    let mut product = vec![0.0f32; SIDE * SIDE];
    let mut sum = 0.0;
    for row in 0..times {
        multiply(&left, &right[row * SIDE..][..SIDE * SIDE], &mut product);
        sum += product[row * 37 % product.len()];
    }
    u64::from(sum.to_bits())
}

/// Numbers in a vector.
const LANES: usize = 4;

/// A vector.
type Lanes = [f32; LANES];

/// Rows of the part of a product that is kept in registers, and vectors in each of them.
const TILE: (usize, usize) = (4, 2);

/// Multiplies tile by tile, as libraries do it: what belongs to a tile is copied to one place first, in the order in which
/// it is used, and each number that is loaded is used several times.
fn multiply_tiles(left: &[f32], right: &[f32], product: &mut [f32]) {
    let columns = (0..SIDE).step_by(TILE.1 * LANES);
    let right: Vec<_> = columns.clone().map(|column| pack_columns(right, column)).collect();
    let mut factors = [[[0.0; LANES]; TILE.0]; SIDE];
    for row in (0..SIDE).step_by(TILE.0) {
        pack_rows(&left[row * SIDE..], &mut factors);
        for (right, column) in right.iter().zip(columns.clone()) {
            for (number, sums) in tile(&factors, right).iter().enumerate() {
                product[(row + number) * SIDE + column..][..TILE.1 * LANES]
                    .copy_from_slice(sums.as_flattened());
            }
        }
    }
}

/// Of each row, the numbers in the columns from `column` on.
fn pack_columns(right: &[f32], column: usize) -> Vec<[Lanes; TILE.1]> {
    let (rows, _) = right.as_chunks::<SIDE>();
    rows.iter().map(|row| from_fn(|vector| from_fn(|lane| row[column + vector * LANES + lane]))).collect()
}

/// Writes the numbers in the first rows to `factors`, column by column, each in all lanes of a vector. Without iterators
/// that collect: their functions are compiled without vectors for WebAssembly.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn pack_rows(left: &[f32], factors: &mut [[Lanes; TILE.0]; SIDE]) {
    let (rows, _) = left.as_chunks::<SIDE>();
    let rows: [&[f32; SIDE]; TILE.0] = from_fn(|number| &rows[number]);
    for (column, factors) in factors.iter_mut().enumerate() {
        for (factor, row) in factors.iter_mut().zip(rows) {
            *factor = [row[column]; LANES];
        }
    }
}

/// The products of some rows with some columns.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn tile(left: &[[Lanes; TILE.0]], right: &[[Lanes; TILE.1]]) -> [[Lanes; TILE.1]; TILE.0] {
    let mut sums = [[[0.0f32; LANES]; TILE.1]; TILE.0];
    for (factors, others) in left.iter().zip(right) {
        for (sums, factors) in sums.iter_mut().zip(factors) {
            for (sums, others) in sums.iter_mut().zip(others) {
                for ((sum, factor), other) in sums.iter_mut().zip(factors).zip(others) {
                    *sum += factor * other;
                }
            }
        }
    }
    sums
}

/// Multiplies with an inner loop of one line over neighbours in two rows: for each product and sum, two loads and a store.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn multiply_rows(left: &[f32], right: &[f32], product: &mut [f32]) {
    for (sums, factors) in product.chunks_exact_mut(SIDE).zip(left.chunks_exact(SIDE)) {
        sums.fill(0.0);
        for (factor, row) in factors.iter().zip(right.chunks_exact(SIDE)) {
            for (sum, other) in sums.iter_mut().zip(row) {
                *sum += factor * other;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_that_of_the_standard() {
        let digest = sha256(b"abc");
        assert_eq!(digest[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        // Two blocks of padding.
        assert_eq!(sha256(&[b'a'; 60])[..4], [0x11, 0xee, 0x39, 0x12]);
    }

    #[test]
    fn both_ways_to_multiply_give_the_same() {
        assert_eq!(matmul(3, multiply_tiles), matmul(3, multiply_rows));
    }

    #[test]
    fn there_are_168_primes_below_a_thousand() {
        assert_eq!(primes(0, 1000), 168);
    }

    #[test]
    fn bodies_stay_numbers() {
        assert!(f64::from_bits(nbody(100_000)).is_finite());
    }
}
