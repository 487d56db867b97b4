//! The languages, and what each cannot do.

/// A column of the table.
pub(crate) struct SdkLanguage {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Rules that it cannot keep, and why.
    excuses: &'static [(&'static str, &'static str)],
    /// Rules that it keeps in a way of its own.
    remarks: &'static [(&'static str, &'static str)],
}

impl SdkLanguage {
    /// Why it cannot keep a rule, if it cannot.
    pub(crate) fn excuse(&self, rule: &str) -> Option<&'static str> {
        find(self.excuses, rule)
    }

    /// How it keeps a rule, if that is worth a word.
    pub(crate) fn remark(&self, rule: &str) -> Option<&'static str> {
        find(self.remarks, rule)
    }
}

fn find(pairs: &[(&'static str, &'static str)], rule: &str) -> Option<&'static str> {
    pairs.iter().find(|(name, _)| *name == rule).map(|(_, words)| *words)
}

const TAGGED: (&str, &str) = (
    "round_trips_big_integers",
    "the language has no integers beyond 64 bits: what is longer is a tag around bytes, and goes round as that",
);

const UNCAUGHT: (&str, &str) = (
    "reports_full_memory",
    "the language cannot catch that memory is full: the worker ends, and the host says of what",
);

const INTERPRETED: (&str, &str) = (
    "names_its_functions",
    "the stack is the interpreter's; the program's own is in the failure's message, which the SDK logs",
);

const CONSOLE: (&str, &str) = (
    "writes_stdout_and_stderr",
    "QuickJS has neither stream: `console.log` and `console.error` go to the log, at info and error",
);

pub(crate) const LANGUAGES: &[SdkLanguage] = &[
    SdkLanguage { name: "rust", title: "Rust", excuses: &[], remarks: &[TAGGED] },
    SdkLanguage { name: "c", title: "C", excuses: &[], remarks: &[TAGGED] },
    SdkLanguage { name: "cpp", title: "C++", excuses: &[], remarks: &[TAGGED] },
    SdkLanguage { name: "go", title: "Go", excuses: &[], remarks: &[UNCAUGHT] },
    SdkLanguage { name: "zig", title: "Zig", excuses: &[], remarks: &[TAGGED] },
    SdkLanguage {
        name: "assemblyscript",
        title: "AssemblyScript",
        excuses: &[],
        remarks: &[TAGGED, UNCAUGHT],
    },
    SdkLanguage { name: "python", title: "Python", excuses: &[], remarks: &[INTERPRETED] },
    SdkLanguage { name: "js", title: "JavaScript", excuses: &[], remarks: &[INTERPRETED, CONSOLE] },
];
