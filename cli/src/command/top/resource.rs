//! What `grid top` lists, and what can be typed after `:`.

/// A kind of thing, with a screen of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopResource {
    /// The grid in figures.
    Overview,
    /// The machines.
    Hosts,
    /// Lists of tasks.
    Jobs,
    /// Running instances of modules.
    Workers,
    /// What workers and tasks run.
    Modules,
    /// What happened.
    Events,
}

/// What was typed after `:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopCommand {
    /// Show a resource.
    Show(TopResource),
    /// Show the keys.
    Help,
    /// End the program.
    Leave,
}

/// The words of commands; of those that begin alike, the first is meant by a beginning.
const COMMANDS: [(&str, TopCommand); 9] = [
    ("overview", TopCommand::Show(TopResource::Overview)),
    ("hosts", TopCommand::Show(TopResource::Hosts)),
    ("jobs", TopCommand::Show(TopResource::Jobs)),
    ("workers", TopCommand::Show(TopResource::Workers)),
    ("modules", TopCommand::Show(TopResource::Modules)),
    ("events", TopCommand::Show(TopResource::Events)),
    ("log", TopCommand::Show(TopResource::Events)),
    ("quit", TopCommand::Leave),
    ("help", TopCommand::Help),
];

impl TopResource {
    /// Every resource, in the order of its digit.
    pub(crate) const ALL: [Self; 6] =
        [Self::Overview, Self::Hosts, Self::Jobs, Self::Workers, Self::Modules, Self::Events];

    /// The resource's name, as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Hosts => "hosts",
            Self::Jobs => "jobs",
            Self::Workers => "workers",
            Self::Modules => "modules",
            Self::Events => "events",
        }
    }

    /// The resource that a digit key shows, from 1.
    pub(crate) fn of_digit(digit: char) -> Option<Self> {
        let place = digit.to_digit(10)?.checked_sub(1)?;
        Self::ALL.get(place as usize).copied()
    }
}

impl TopCommand {
    /// The command that a text names, or is the beginning of.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let found = (!text.is_empty()).then(|| COMMANDS.iter().find(|(word, _)| word.starts_with(&text)));
        found.flatten().map(|(_, command)| *command)
    }

    /// The first word that begins with `text`.
    pub(crate) fn completion(text: &str) -> Option<&'static str> {
        let text = text.to_lowercase();
        COMMANDS.iter().map(|(word, _)| *word).find(|word| word.starts_with(&text))
    }

    /// The word after `word`, around in a circle.
    pub(crate) fn after(word: &str) -> Option<&'static str> {
        let words = COMMANDS.iter().map(|(word, _)| *word);
        words.clone().chain(words).skip_while(|known| *known != word).nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_names_the_first_command_that_begins_so() {
        assert_eq!(TopCommand::named("h"), Some(TopCommand::Show(TopResource::Hosts)));
        assert_eq!(TopCommand::named("he"), Some(TopCommand::Help));
        assert_eq!(TopCommand::named(" J "), Some(TopCommand::Show(TopResource::Jobs)));
        assert_eq!(TopCommand::named("q"), Some(TopCommand::Leave));
        assert_eq!((TopCommand::named(""), TopCommand::named("hostss")), (None, None));
        for resource in TopResource::ALL {
            assert_eq!(TopCommand::named(resource.name()), Some(TopCommand::Show(resource)));
        }
    }

    #[test]
    fn words_follow_one_another_in_a_circle() {
        assert_eq!(TopCommand::completion(""), Some("overview"));
        assert_eq!(TopCommand::after("overview"), Some("hosts"));
        assert_eq!(TopCommand::after("help"), Some("overview"));
        assert_eq!(TopCommand::after("nothing"), None);
    }

    #[test]
    fn a_digit_names_a_resource_and_no_other_does() {
        assert_eq!(TopResource::of_digit('1'), Some(TopResource::Overview));
        assert_eq!(TopResource::of_digit('6'), Some(TopResource::Events));
        assert_eq!((TopResource::of_digit('0'), TopResource::of_digit('7')), (None, None));
    }
}
