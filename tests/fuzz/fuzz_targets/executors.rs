//! What an executor that was taken over may write into the memory that it shares with its host.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    grid_host::sandbox::read_hostile_executor(bytes);
});
