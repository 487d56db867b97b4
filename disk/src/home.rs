//! The folder for what belongs to the user who runs the grid.

use std::path::PathBuf;

/// `$GRID_HOME`, else `$XDG_DATA_HOME/grid`, else `~/.local/share/grid`, else `.grid` in the current folder.
pub fn home() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("GRID_HOME")
        .or_else(|| variable("XDG_DATA_HOME").map(|data| data.join("grid")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/grid")))
        .unwrap_or_else(|| PathBuf::from(".grid"))
}
