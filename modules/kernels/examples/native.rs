//! The kernels on this machine, without a grid: `native KERNEL TASKS [STEP]` does a kernel's task this often, one after the
//! other, and prints the seconds and the sum of what came out. With a step the number of each task is the last one's and the
//! step, from 0.

#[path = "../src/kernels.rs"]
mod kernels;

use std::hint::black_box;
use std::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
    let (Some(kernel), Some(tasks)) = (words.first().and_then(|name| kernels::kernel(name)), number(1))
    else {
        eprintln!("usage: native KERNEL TASKS [STEP]");
        std::process::exit(2);
    };
    let input = |task: u32| number(2).map_or(kernel.task, |step| step * task);
    let began = Instant::now();
    let sum = (0..tasks).map(|task| (kernel.run)(black_box(input(task)))).fold(0, u64::wrapping_add);
    println!("{} {sum} {}", began.elapsed().as_secs_f64(), kernel.task);
}
