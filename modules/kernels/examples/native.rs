//! The kernels on this machine, without a grid: `native KERNEL TASKS [STEP]` does a kernel's task this often, one after the
//! other, and prints the seconds and the sum of what came out. With a step the number of each task is the last one's and the
//! step, from 0. `native KERNEL` prints the number that a task is given, and then does so for each number of tasks that it
//! reads, a line each.

#[path = "../src/kernels.rs"]
mod kernels;

use std::hint::black_box;
use std::time::Instant;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
    let Some(kernel) = words.first().and_then(|name| kernels::kernel(name)) else {
        eprintln!("usage: native KERNEL [TASKS [STEP]]");
        std::process::exit(2);
    };
    let input = |task: u32| number(2).map_or(kernel.task, |step| step * task);
    let work = |tasks: u32| {
        let began = Instant::now();
        let sum = (0..tasks).map(|task| (kernel.run)(black_box(input(task)))).fold(0, u64::wrapping_add);
        println!("{} {sum}", began.elapsed().as_secs_f64());
    };
    if let Some(tasks) = number(1) {
        return work(tasks);
    }
    println!("{}", kernel.task);
    std::io::stdin().lines().map_while(Result::ok).filter_map(|line| line.parse().ok()).for_each(work);
}
