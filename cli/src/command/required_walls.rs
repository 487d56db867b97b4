//! `--require-walls`: the walls that hosts must have around guests.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use wasm_grid::Wall;

/// The walls that were asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RequiredWalls {
    /// Only hosts with these walls around guests, as they say [without a list: process,landlock,system-calls].
    #[arg(
        long = "require-walls",
        value_name = "WALL",
        num_args = 0..,
        require_equals = true,
        value_delimiter = ',',
        default_missing_values = Wall::USUAL.map(Wall::word),
        value_parser = PossibleValuesParser::new(Wall::ALL.map(possible)).try_map(wall)
    )]
    walls: Vec<Wall>,
}

impl RequiredWalls {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Wall> {
        self.walls.iter().copied()
    }
}

/// How a wall is asked for: also as it is shown.
fn possible(wall: Wall) -> PossibleValue {
    PossibleValue::new(wall.word()).alias(wall.name())
}

fn wall(word: String) -> Result<Wall, String> {
    Wall::ALL
        .into_iter()
        .find(|wall| wall.word() == word || wall.name() == word)
        .ok_or_else(|| format!("`{word}` is no wall"))
}
