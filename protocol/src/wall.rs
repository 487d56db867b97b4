//! Walls: what stands around the guests of a host besides the sandbox itself.

use alloc::borrow::ToOwned;
use alloc::format;

use crate::label::Label;

/// A wall around guests. A host tells those that stand as labels, which placements can require; like everything that a host
/// tells, they are its allegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wall {
    /// Guests run in processes that have no keys, no connection and no other owner's guests.
    Process,
    /// Landlock denies those processes files, network and other processes.
    Landlock,
    /// Those processes may make only the system calls of computing and waiting.
    SystemCalls,
    /// Those processes have namespaces of their own, without a network, files, or rights over anything outside of them.
    Namespaces,
}

impl Wall {
    /// All walls.
    pub const ALL: [Self; 4] = [Self::Process, Self::Landlock, Self::SystemCalls, Self::Namespaces];

    /// Those that every host can have on a present Linux, whatever it runs in. Containers and distributions may forbid
    /// the others.
    pub const USUAL: [Self; 3] = [Self::Process, Self::Landlock, Self::SystemCalls];

    /// What the names of labels about walls begin with. An operator gives no such label.
    pub const LABEL_PREFIX: &str = "wall.";

    /// The wall in a word or two, for people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Landlock => "landlock",
            Self::SystemCalls => "system calls",
            Self::Namespaces => "namespaces",
        }
    }

    /// The wall in one word, as it is asked for.
    pub fn word(self) -> &'static str {
        match self {
            Self::SystemCalls => "system-calls",
            other => other.name(),
        }
    }

    /// The label by which a host tells that the wall stands, and a placement requires it.
    pub fn label(self) -> Label {
        Label { name: format!("{}{}", Self::LABEL_PREFIX, self.word()), value: "yes".to_owned() }
    }

    /// True if one of a host's labels tells that the wall stands.
    pub fn stands(self, labels: &[Label]) -> bool {
        labels.contains(&self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_stands_if_its_label_says_so_and_not_by_another() {
        let labels = [Wall::Process.label()];
        assert!(Wall::Process.stands(&labels) && !Wall::Landlock.stands(&labels));
        let no = Label { value: "no".to_owned(), ..Wall::Landlock.label() };
        assert!(!Wall::Landlock.stands(&[no]));
        assert!(Wall::ALL.iter().all(|wall| crate::name::check_name(&wall.label().name).is_ok()));
    }
}
