//! A reference for benchmarks: only wasmtime's pool, which makes an instance and calls it once, repeatedly.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figure")]

use std::time::Instant;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};

const COUNT: u32 = 1000;

fn main() -> wasmtime::Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(COUNT).total_memories(COUNT).max_memory_size(256 << 20);
    let mut config = Config::new();
    config.epoch_interruption(true).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config)?;
    let wat = r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32)))"#;
    let instance = Linker::new(&engine).instantiate_pre(&Module::new(&engine, wat::parse_str(wat)?)?)?;
    let started = Instant::now();
    let mut stores = Vec::new();
    for _ in 0..COUNT {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = instance.instantiate(&mut store)?;
        instance.get_typed_func::<i32, ()>(&mut store, "handle_msg")?.call(&mut store, 0)?;
        stores.push(store);
    }
    println!("{}", started.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT));
    Ok(())
}
