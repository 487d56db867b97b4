//! Where the grid keeps what belongs to the user who runs it.

use std::path::PathBuf;

/// `$GRID_HOME`, or `grid` in the user's data folder (`$XDG_DATA_HOME`, `~/.local/share`), or `.grid` here.
pub fn home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("GRID_HOME")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("grid")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/grid")))
        .unwrap_or_else(|| PathBuf::from(".grid"))
}
