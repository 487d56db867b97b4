//! The extension module of the Python package `wasm_grid`.
//!
//! The package's own files say what it does, to whom it is typed and documented (`wasm_grid/*.py`, `*.pyi`); here is what
//! needs the client library: connections, jobs and the encoding of values. Nothing here holds the interpreter's lock
//! while it waits.

use pyo3::prelude::*;

mod client;
mod errors;
mod inputs;
mod job;
mod outcome;
mod runtime;
mod values;
mod workers;

#[pymodule]
fn _wasm_grid(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::PyClient>()?;
    module.add_class::<inputs::TaskFeed>()?;
    module.add_class::<job::PyJob>()?;
    module.add_class::<job::PyOutcomes>()?;
    module.add_class::<outcome::PyOutcome>()?;
    module.add_function(wrap_pyfunction!(client::connect, module)?)?;
    module.add_function(wrap_pyfunction!(client::home, module)?)?;
    module.add_function(wrap_pyfunction!(values::dumps, module)?)?;
    module.add_function(wrap_pyfunction!(values::loads, module)?)?;
    errors::add_to(module)
}
