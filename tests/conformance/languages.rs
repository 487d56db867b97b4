//! The languages, and what each cannot do.

/// A column of the table.
pub(crate) struct Language {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Rules that it cannot keep, and why.
    excuses: &'static [(&'static str, &'static str)],
}

impl Language {
    /// Why it cannot keep a rule, if it cannot.
    pub(crate) fn excuse(&self, rule: &str) -> Option<&'static str> {
        self.excuses.iter().find(|(excused, _)| *excused == rule).map(|(_, why)| *why)
    }
}

pub(crate) const LANGUAGES: &[Language] = &[
    Language { name: "rust", title: "Rust", excuses: &[] },
    Language { name: "c", title: "C", excuses: &[] },
    Language { name: "cpp", title: "C++", excuses: &[] },
    Language { name: "go", title: "Go", excuses: &[] },
    Language { name: "zig", title: "Zig", excuses: &[] },
    Language { name: "assemblyscript", title: "AssemblyScript", excuses: &[] },
    Language { name: "python", title: "Python", excuses: &[] },
    Language { name: "js", title: "JavaScript", excuses: &[] },
];
