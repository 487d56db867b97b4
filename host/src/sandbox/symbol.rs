//! Demangles function names of Rust and C++. Names come from a guest, so their length and expansion are hostile input.

use std::fmt::{self, Write};

/// Longest mangled name that is demangled, in bytes; longer ones are only cut. The work of demangling grows faster than
/// the length, and most names of real programs are shorter.
const MANGLED_BYTES_MAX: usize = 512;

/// Longest name that is shown, in bytes. A C++ name of 300 bytes that refers back eight times at eight depths expands
/// to 274 MB in 29 s; a writer that accepts no more than this stops that after some microseconds.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Recursion limit of the C++ demangler. At its own limits, 96 and 128, a name of 1 KiB overflows the 2 MiB stack of a
/// compute thread in an unoptimised build, and ends the host.
const RECURSION_MAX: u32 = 64;

/// Stack for demangling C++ names: 8 MiB, twice what [`RECURSION_MAX`] takes in the worst case.
const CPP_STACK_BYTES: usize = 8 << 20;

/// Marks the end of a text that was cut.
const CUT: &str = "…";

/// Demangles function names, and cuts each to [`SHOWN_BYTES_MAX`].
///
/// C++ names are demangled on a thread of their own, which has the stack for it. If the system starts no thread, or the
/// thread panics, they are shown mangled.
pub(super) fn shown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<_> = names.collect();
    if !names.iter().any(|name| is_cpp(name)) {
        return names.into_iter().map(plain_or_rust).collect();
    }
    let all = || names.iter().map(|name| demangle_cpp(name).unwrap_or_else(|| plain_or_rust(name))).collect();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("grid-names".to_owned()).stack_size(CPP_STACK_BYTES);
        thread.spawn_scoped(scope, all).ok().and_then(|thread| thread.join().ok())
    })
    .unwrap_or_else(|| names.iter().map(|name| plain_or_rust(name)).collect())
}

/// True if a name may be a mangled C++ name. Without the check for a prefix, the plain name `a` would be demangled to
/// `signed char`.
fn is_cpp(name: &str) -> bool {
    name.len() <= MANGLED_BYTES_MAX && ["_Z", "__Z"].iter().any(|prefix| name.starts_with(prefix))
}

fn plain_or_rust(name: &str) -> String {
    if name.len() <= MANGLED_BYTES_MAX
        && ["_R", "__R", "_ZN", "__ZN"].iter().any(|prefix| name.starts_with(prefix))
        && let Ok(rust) = rustc_demangle::try_demangle(name)
    {
        return bounded(format_args!("{rust:#}"), SHOWN_BYTES_MAX);
    }
    bounded(name, SHOWN_BYTES_MAX)
}

/// Demangles a C++ name; `None` if it is none. Names in Rust's old mangling look like C++ names, and are excluded.
fn demangle_cpp(name: &str) -> Option<String> {
    if !is_cpp(name) || rustc_demangle::try_demangle(name).is_ok() {
        return None;
    }
    let parsing = cpp_demangle::ParseOptions::default().recursion_limit(RECURSION_MAX);
    let writing = cpp_demangle::DemangleOptions::new().recursion_limit(RECURSION_MAX);
    let symbol = cpp_demangle::Symbol::new_with_options(name, &parsing).ok()?;
    let mut text = Bounded::new(SHOWN_BYTES_MAX);
    let written = symbol.structured_demangle(&mut text, &writing);
    (written.is_ok() || text.is_cut).then(|| text.into_text())
}

/// A value as text. Formatting stops after `bytes_max` bytes, and the text then ends with [`CUT`].
pub(super) fn bounded(value: impl fmt::Display, bytes_max: usize) -> String {
    let mut text = Bounded::new(bytes_max);
    // An error means that the text is full, which its end shows.
    let _ = write!(text, "{value:#}");
    text.into_text()
}

/// A writer that fails once it is full, so that formatting stops.
struct Bounded {
    text: String,
    bytes_max: usize,
    is_cut: bool,
}

impl Bounded {
    fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max, is_cut: false }
    }

    fn into_text(mut self) -> String {
        if self.is_cut {
            let room = self.bytes_max.saturating_sub(CUT.len());
            self.text.truncate(self.text.floor_char_boundary(room));
            self.text.push_str(CUT);
        }
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.bytes_max - self.text.len();
        let taken = piece.get(..piece.floor_char_boundary(room)).unwrap_or_default();
        self.text.push_str(taken);
        self.is_cut |= taken.len() < piece.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn shown(name: &str) -> String {
        super::shown([name].into_iter()).remove(0)
    }

    #[test]
    fn names_are_shown_as_they_were_written() {
        assert_eq!(
            shown("_RNvCsjqMdAx8lMPT_16conformance_rust15deliberate_trap"),
            "conformance_rust::deliberate_trap"
        );
        assert_eq!(shown("_ZN4core9panicking9panic_fmt17h0123456789abcdefE"), "core::panicking::panic_fmt");
        assert_eq!(shown("_ZN4grid5panicEPKc"), "grid::panic(char const*)");
        assert_eq!(
            shown("_ZNSt3__26vectorIiNS_9allocatorIiEEE9push_backEOi"),
            "std::__2::vector<int, std::__2::allocator<int> >::push_back(int&&)"
        );
        assert_eq!(
            shown("_ZNSt3__212basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEE6appendEPKcm"),
            "std::__2::basic_string<char, std::__2::char_traits<char>, std::__2::allocator<char> >::append(char const*, unsigned long)"
        );
        assert_eq!(shown("main.deliberateTrap"), "main.deliberateTrap");
    }

    #[test]
    fn a_name_that_is_not_mangled_is_shown_as_it_is() {
        for name in ["a", "i", "v", "main", "St", "ZN1aE", "RNvC1a1b", "_start", "_Z", "_R", "", "Kc"] {
            assert_eq!(shown(name), name);
        }
    }

    /// A class of eight arguments, each of which refers to the class before, so that each depth is eight times as long.
    fn unfolding(depth: usize) -> String {
        let mut name = "_Z1f1AI1BE".to_owned();
        for before in 1..=depth {
            let before = std::char::from_digit(u32::try_from(before).unwrap(), 36).unwrap();
            let argument = format!("S{}_", before.to_ascii_uppercase());
            name.push_str(&format!("S_I{}E", argument.repeat(8)));
        }
        name
    }

    #[test]
    fn a_name_that_unfolds_costs_no_more_than_what_is_shown_of_it() {
        for name in [unfolding(8), unfolding(16), unfolding(30), "_Z1f".to_owned() + &"P".repeat(1000) + "i"]
        {
            let began = Instant::now();
            let text = shown(&name);
            assert!(began.elapsed() < Duration::from_secs(1), "{:?} for {name}", began.elapsed());
            assert!(text.len() <= SHOWN_BYTES_MAX, "{} bytes of {name}", text.len());
        }
    }

    #[test]
    fn a_name_of_megabytes_is_cut_before_it_is_read() {
        let name = "_ZN".to_owned() + &"1a".repeat(1 << 20) + "E";
        let began = Instant::now();
        assert!(shown(&name).len() <= SHOWN_BYTES_MAX);
        assert!(shown(&"é".repeat(1 << 20)).len() <= SHOWN_BYTES_MAX);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    /// Names made of the parts of mangled C++ names in random order, repeated up to the maximal length.
    fn nonsense(count: u64) -> impl Iterator<Item = String> {
        let parts = "S_ S0_ S1_ T_ I E J N P R K i c 1A X L Dp DT sp f _Z F v St cv sZ Li1E U D tl il M A_ ul UlvE_ C1";
        let parts: Vec<_> = parts.split(' ').collect();
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below).unwrap()
        };
        (0..count).map(move |_| {
            let mut some = |most| (0..=next(most)).map(|_| parts[next(34)]).collect::<String>();
            let (mut name, block) = ("_Z1f".to_owned() + &some(30), some(6));
            while name.len() + block.len() <= MANGLED_BYTES_MAX {
                name.push_str(&block);
            }
            name
        })
    }

    #[test]
    fn names_without_sense_neither_overflow_the_stack_nor_take_long() {
        let names: Vec<_> = nonsense(2000).collect();
        for names in names.chunks(16) {
            let began = Instant::now();
            let shown = super::shown(names.iter().map(String::as_str));
            assert!(shown.len() == names.len() && shown.iter().all(|name| name.len() <= SHOWN_BYTES_MAX));
            assert!(began.elapsed() < Duration::from_secs(2), "{:?} for {names:#?}", began.elapsed());
        }
    }
}
