//! Work for the benchmark: a message is the name of a kernel, a space, and its number; the answer is the number that came
//! out, as text.

pub mod kernels;

fn work(message: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || "expected the name of a kernel and a number".to_owned();
    let text = std::str::from_utf8(message).map_err(|_| wrong())?;
    let (name, number) = text.split_once(' ').ok_or_else(wrong)?;
    let kernel = kernels::kernel(name).ok_or_else(|| format!("there is no kernel `{name}`"))?;
    let number = number.parse().map_err(|_| wrong())?;
    Ok((kernel.run)(number).to_string().into_bytes())
}

grid_guest::handler!(work);
